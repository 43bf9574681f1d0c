"""Full garbage collections skip long-lived objects."""

import gc

import pytest

from tanuki.platform import gc_tuning


@pytest.fixture
def freezing():
    callback = gc_tuning.freeze_long_lived_objects()
    yield callback
    gc.callbacks.remove(callback)
    gc.unfreeze()


def test_current_objects_are_frozen_and_later_garbage_is_still_collected(freezing):
    assert gc.get_freeze_count() > 10_000
    assert len(gc.get_objects()) < 10_000
    cycle: list[object] = []
    cycle.append(cycle)
    del cycle
    assert gc.collect() >= 1


def test_survivors_of_slow_collections_are_frozen_a_limited_number_of_times(freezing, monkeypatch):
    before = gc.get_freeze_count()
    survivors = [[n] for n in range(50_000)]
    monkeypatch.setattr(gc_tuning, "SLOW_COLLECTION_SECONDS", 0.0)  # every collection takes longer
    gc.collect()
    assert gc.get_freeze_count() >= before + len(survivors)
    for _ in range(gc_tuning.MAX_FREEZES + 2):
        gc.collect()
    before = gc.get_freeze_count()
    more = [[n] for n in range(50_000)]
    gc.collect()
    assert gc.get_freeze_count() < before + len(more)
