"""The gate of an index: honest rebuilds pass, and each kind of bad one is refused with a sentence in both languages."""

import json

import numpy as np
import pytest

from tanuki.animals.similarity import dataset, gate, messages
from tanuki.animals.similarity.index import Index
from tanuki.animals.similarity.recall_evaluation import Candidate
from tanuki.errors import UserError
from tests.factories import image_embeddings
from tests.factories.image_embeddings import candidate

EVERY = image_embeddings.made(3_300)
SHOWN = image_embeddings.part(EVERY, 0, 3_000)
NEWEST = int(SHOWN.ids[-1])
SEA = np.array([kind == "sea" for kind in SHOWN.category])
SMALL = np.array([kind == "small" for kind in SHOWN.category])


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    return candidate(SHOWN, tmp_path_factory.mktemp("live"))


def verdict(ours, live, newest=NEWEST):
    found, told = gate.judge(ours, live, newest)
    assert all(messages.words(reason, lang) for reason in found.reasons for lang in ("en", "ja"))
    json.dumps([found.as_json(), told])
    return [reason["code"] for reason in found.reasons]


# ---- honest ones ---------------------------------------------------------------------------------------------------


def test_the_first_index_is_judged_beside_plain_rules_and_passes(live):
    assert verdict(live, None) == []


@pytest.mark.parametrize("seed", range(10))
def test_an_honest_rebuild_passes(live, tmp_path, seed):
    """The same pictures in another order: another tree, other leaves."""
    again = candidate(image_embeddings.mixed(SHOWN, seed), tmp_path, max_features_id=NEWEST).index
    assert verdict(Candidate(again, SHOWN), live) == []


def test_an_index_with_pictures_that_are_not_published_passes(live, tmp_path):
    assert (
        verdict(Candidate(candidate(EVERY, tmp_path).index, SHOWN), live, int(EVERY.ids[-1])) == []
    )


def test_what_the_live_index_does_not_have_yet_it_finds_as_it_is_served(tmp_path):
    """The live one was made of the first half: the other half is compared one by one, so the new one is no worse and no better."""
    half = len(SHOWN) // 2
    old = candidate(
        SHOWN,
        tmp_path / "old",
        vectors=SHOWN.vectors[:half],
        ids=SHOWN.ids[:half],
        max_features_id=int(SHOWN.ids[half - 1]),
    )
    assert verdict(candidate(SHOWN, tmp_path / "new"), old) == []


def test_an_index_of_other_eyes_is_compared_picture_by_picture(live, tmp_path):
    turned = np.linalg.qr(np.random.default_rng(3).normal(size=(48, 48)))[0].astype(np.float32)
    other = dataset.Pictures(
        "2",
        SHOWN.ids + 9_000,
        SHOWN.vectors @ turned,
        SHOWN.digests,
        SHOWN.category,
        SHOWN.light,
        SHOWN.phash,
    )
    assert verdict(candidate(other, tmp_path), live, int(other.ids[-1])) == []


def test_too_few_pictures_are_no_ground_for_a_verdict(tmp_path):
    with pytest.raises(UserError, match="needs 20"):
        gate.judge(candidate(image_embeddings.made(19), tmp_path), None, 1_000)


@pytest.mark.parametrize("count", [20, 60, 200])
def test_small_networks_pass_too(tmp_path, count):
    shown = image_embeddings.made(count)
    first = candidate(shown, tmp_path / "a")
    assert verdict(first, None) == []
    assert verdict(candidate(shown, tmp_path / "b"), first) == []


# ---- bad ones ------------------------------------------------------------------------------------------------------


def test_half_of_the_pictures_missing(live, tmp_path):
    assert "lost" in verdict(
        candidate(SHOWN, tmp_path, vectors=SHOWN.vectors[::2], ids=SHOWN.ids[::2]), live
    )


def test_a_category_that_is_missing_is_named(live, tmp_path):
    kept = ~SMALL
    found, _ = gate.judge(
        candidate(SHOWN, tmp_path, vectors=SHOWN.vectors[kept], ids=SHOWN.ids[kept]), live, NEWEST
    )
    lost = [reason for reason in found.reasons if reason["code"] in ("lost", "lost_slice")]
    assert lost
    assert lost[0].get("label", "small") == "small"


def test_vectors_that_are_not_numbers(live, tmp_path):
    vectors = SHOWN.vectors.copy()
    vectors[::10] = np.nan
    assert "nan" in verdict(candidate(SHOWN, tmp_path, vectors=vectors, few=10_000), live)


def test_another_dimension(live, tmp_path):
    assert verdict(
        Candidate(candidate(image_embeddings.made(3_000, dimension=32), tmp_path).index, SHOWN),
        live,
    ) == ["dimension"]


def test_wrong_preprocessing(live, tmp_path):
    """The vectors of pictures that were prepared in another way: like ours, but not what the eyes say."""
    noise = np.random.default_rng(5).normal(size=SHOWN.vectors.shape) * 0.12
    assert "other" in verdict(
        candidate(
            SHOWN, tmp_path, vectors=dataset.unit(SHOWN.vectors[:, ::-1] + noise.astype(np.float32))
        ),
        live,
    )


@pytest.mark.parametrize("which", [SEA, SMALL], ids=["sea", "small"])
def test_ten_points_less_in_one_small_category(live, tmp_path, which):
    """A tenth of what is nearest to those pictures cannot be found: some of their ids lead to pictures of others."""
    ids, spoilt = SHOWN.ids.copy(), np.flatnonzero(which)
    spoilt = spoilt[: max(3, len(spoilt) // 6)]
    far = np.flatnonzero(~which)[: len(spoilt)]
    ids[spoilt], ids[far] = SHOWN.ids[far], SHOWN.ids[spoilt]
    found = verdict(candidate(SHOWN, tmp_path, ids=ids), live)
    assert {*found} & {"worse_slice", "worse_small", "other", "worse"}


def test_a_slow_one(live, tmp_path):
    slow = candidate(SHOWN, tmp_path)
    quick = slow.index.find
    slow.index.find = lambda queries, k: [quick(queries, k) for _ in range(12)][-1]
    assert {*verdict(slow, live)} & {"slow", "slow_exact"}


def test_one_that_says_it_knows_what_is_yet_to_come(live, tmp_path):
    assert verdict(candidate(SHOWN, tmp_path, max_features_id=NEWEST + 1_000), live) == ["ahead"]


def test_a_large_one(live, tmp_path):
    fat = candidate(SHOWN, tmp_path)
    fat.index.said["files"] = {**fat.index.said["files"], "index/dataset.npy": 100_000_000}
    assert verdict(fat, live) == ["large"]


def test_answers_by_chance(live, tmp_path):
    ids = np.random.default_rng(1).permutation(SHOWN.ids)
    found = verdict(candidate(SHOWN, tmp_path, ids=ids), live)
    assert "worse" in found
    assert "floor" in found or "other" in found


def test_a_truncated_file_does_not_even_load(tmp_path):
    image_embeddings.build(SHOWN, tmp_path)
    file = tmp_path / "index" / "dataset.npy"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(UserError, match="incomplete"):
        Index(tmp_path)
