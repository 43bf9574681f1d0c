"""Full collections of garbage leave out what stays."""

import gc

import pytest

from tanuki.platform import gc_tuning


@pytest.fixture
def kept_short():
    look = gc_tuning.freeze_long_lived_objects()
    yield look
    gc.callbacks.remove(look)
    gc.unfreeze()


def test_what_is_there_is_left_out_and_garbage_made_later_is_still_collected(kept_short):
    assert gc.get_freeze_count() > 10_000
    assert len(gc.get_objects()) < 10_000
    knot: list[object] = []
    knot.append(knot)
    del knot
    assert gc.collect() >= 1


def test_what_survives_a_long_collection_is_left_out_of_the_next_and_that_happens_only_so_often(
    kept_short, monkeypatch
):
    made = [[n] for n in range(50_000)]
    gc.collect()
    before = gc.get_freeze_count()
    monkeypatch.setattr(gc_tuning, "LONG", 0.0)  # every collection takes longer
    gc.collect()
    assert gc.get_freeze_count() >= before + len(made)
    for _ in range(gc_tuning.MAX_FREEZES + 2):
        gc.collect()
    before = gc.get_freeze_count()
    more = [[n] for n in range(50_000)]
    gc.collect()
    assert gc.get_freeze_count() < before + len(more)
