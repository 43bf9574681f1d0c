"""The gate of an index: honest rebuilds pass, and each kind of bad one is refused with a sentence in both languages."""

import json
from pathlib import Path

import numpy as np
import pytest

import tanuki
from tanuki.animals.similarity import dataset, gate
from tanuki.animals.similarity.index import SimilarityIndex
from tanuki.animals.similarity.messages import INDEX_TEXTS
from tanuki.animals.similarity.recall_evaluation import Candidate
from tanuki.errors import UserError
from tanuki.i18n import Texts
from tanuki.platform.mlops.reasons import render_reason
from tests.factories.image_embeddings import (
    build_candidate,
    build_index,
    make_images,
    normalise,
    shuffle_images,
    slice_images,
)

EVERY = make_images(3_300)
SHOWN = slice_images(EVERY, 0, 3_000)
TEXTS = Texts([Path(tanuki.__file__).parent / name / "web/locale" for name in ("platform", "animals")])
NEWEST = int(SHOWN.ids[-1])
SEA = np.array([kind == "sea" for kind in SHOWN.categories])
SMALL = np.array([kind == "small" for kind in SHOWN.categories])


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    return build_candidate(SHOWN, tmp_path_factory.mktemp("live"))


def verdict(ours, live, newest=NEWEST):
    found, told = gate.compare_candidates(ours, live, newest)
    assert all(
        render_reason(reason, INDEX_TEXTS, TEXTS.translator(lang))
        for reason in found.reasons
        for lang in ("en", "ja")
    )
    json.dumps([found.as_json(), told])
    return [reason["code"] for reason in found.reasons]


# ---- honest ones ---------------------------------------------------------------------------------------------------


def test_the_first_index_is_judged_beside_plain_rules_and_passes(live):
    assert verdict(live, None) == []


@pytest.mark.parametrize("seed", range(10))
def test_an_honest_rebuild_passes(live, tmp_path, seed):
    """The same pictures in another order: another tree, other leaves."""
    again = build_candidate(shuffle_images(SHOWN, seed), tmp_path, max_features_id=NEWEST).index
    assert verdict(Candidate(again, SHOWN), live) == []


def test_an_index_with_pictures_that_are_not_published_passes(live, tmp_path):
    assert (
        verdict(Candidate(build_candidate(EVERY, tmp_path).index, SHOWN), live, int(EVERY.ids[-1])) == []
    )


def test_what_the_live_index_does_not_have_yet_it_finds_as_it_is_served(tmp_path):
    """The live one was made of the first half: the other half is compared one by one, so the new one is no worse and no better."""
    half = len(SHOWN) // 2
    old = build_candidate(
        SHOWN,
        tmp_path / "old",
        vectors=SHOWN.vectors[:half],
        ids=SHOWN.ids[:half],
        max_features_id=int(SHOWN.ids[half - 1]),
    )
    assert verdict(build_candidate(SHOWN, tmp_path / "new"), old) == []


def test_an_index_of_another_encoder_is_compared_picture_by_picture(live, tmp_path):
    turned = np.linalg.qr(np.random.default_rng(3).normal(size=(48, 48)))[0].astype(np.float32)
    other = dataset.ImageSet(
        "2",
        SHOWN.ids + 9_000,
        SHOWN.vectors @ turned,
        SHOWN.digests,
        SHOWN.categories,
        SHOWN.lightness,
        SHOWN.phash,
    )
    assert verdict(build_candidate(other, tmp_path), live, int(other.ids[-1])) == []


def test_too_few_pictures_are_no_ground_for_a_verdict(tmp_path):
    with pytest.raises(UserError, match="needs 20"):
        gate.compare_candidates(build_candidate(make_images(19), tmp_path), None, 1_000)


@pytest.mark.parametrize("count", [20, 60, 200])
def test_small_networks_pass_too(tmp_path, count):
    shown = make_images(count)
    first = build_candidate(shown, tmp_path / "a")
    assert verdict(first, None) == []
    assert verdict(build_candidate(shown, tmp_path / "b"), first) == []


# ---- bad ones ------------------------------------------------------------------------------------------------------


def test_half_of_the_pictures_missing(live, tmp_path):
    assert "missing_images" in verdict(
        build_candidate(SHOWN, tmp_path, vectors=SHOWN.vectors[::2], ids=SHOWN.ids[::2]), live
    )


def test_a_category_that_is_missing_is_named(live, tmp_path):
    kept = ~SMALL
    found, _ = gate.compare_candidates(
        build_candidate(SHOWN, tmp_path, vectors=SHOWN.vectors[kept], ids=SHOWN.ids[kept]), live, NEWEST
    )
    lost = [reason for reason in found.reasons if reason["code"] in ("missing_images", "missing_images_slice")]
    assert lost
    assert lost[0].get("label", "small") == "small"


def test_vectors_that_are_not_numbers(live, tmp_path):
    vectors = SHOWN.vectors.copy()
    vectors[::10] = np.nan
    assert "not_finite" in verdict(build_candidate(SHOWN, tmp_path, vectors=vectors, exact_below=10_000), live)


def test_another_dimension(live, tmp_path):
    assert verdict(
        Candidate(build_candidate(make_images(3_000, dimension=32), tmp_path).index, SHOWN),
        live,
    ) == ["dimension_mismatch"]


def test_wrong_preprocessing(live, tmp_path):
    """The vectors of pictures that were prepared in another way: similar, but not what the encoder gives."""
    noise = np.random.default_rng(5).normal(size=SHOWN.vectors.shape) * 0.12
    assert "different_vectors" in verdict(
        build_candidate(
            SHOWN, tmp_path, vectors=normalise(SHOWN.vectors[:, ::-1] + noise.astype(np.float32))
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
    found = verdict(build_candidate(SHOWN, tmp_path, ids=ids), live)
    assert {*found} & {"worse_slice", "worse_small_category", "different_vectors", "worse_overall"}


def test_a_slow_one(live, tmp_path):
    slow = build_candidate(SHOWN, tmp_path)
    quick = slow.index.find
    slow.index.find = lambda queries, k: [quick(queries, k) for _ in range(12)][-1]
    assert {*verdict(slow, live)} & {"slower_than_champion", "slower_than_exact"}


def test_one_that_says_it_knows_what_is_yet_to_come(live, tmp_path):
    assert verdict(build_candidate(SHOWN, tmp_path, max_features_id=NEWEST + 1_000), live) == ["future_images"]


def test_a_large_one(live, tmp_path):
    fat = build_candidate(SHOWN, tmp_path)
    fat.index.description["files"] = {**fat.index.description["files"], "index/dataset.npy": 100_000_000}
    assert verdict(fat, live) == ["too_large"]


def test_answers_by_chance(live, tmp_path):
    ids = np.random.default_rng(1).permutation(SHOWN.ids)
    found = verdict(build_candidate(SHOWN, tmp_path, ids=ids), live)
    assert "worse_overall" in found
    assert "not_above_baseline" in found or "different_vectors" in found


def test_a_truncated_file_does_not_even_load(tmp_path):
    build_index(SHOWN, tmp_path)
    file = tmp_path / "index" / "dataset.npy"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(UserError, match="incomplete"):
        SimilarityIndex(tmp_path)
