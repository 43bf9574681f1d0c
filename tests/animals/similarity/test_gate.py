"""The gate of an index: equal rebuilds pass, each kind of fault is refused with a reason."""

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

ALL_IMAGES = make_images(3_300)
PUBLISHED = slice_images(ALL_IMAGES, 0, 3_000)
SYSTEMS = ("platform", "animals")
TEXTS = Texts([Path(tanuki.__file__).parent / name / "web/locale" for name in SYSTEMS])
NEWEST = int(PUBLISHED.ids[-1])
SEA = np.array([kind == "sea" for kind in PUBLISHED.categories])
SMALL = np.array([kind == "small" for kind in PUBLISHED.categories])


@pytest.fixture(scope="module")
def champion(tmp_path_factory):
    return build_candidate(PUBLISHED, tmp_path_factory.mktemp("champion"))


def evaluate(candidate, champion, newest_id=NEWEST):
    evaluation, report = gate.compare_candidates(candidate, champion, newest_id)
    assert all(
        render_reason(reason, INDEX_TEXTS, TEXTS.translator(lang))
        for reason in evaluation.reasons
        for lang in ("en", "ja")
    )
    json.dumps([evaluation.as_json(), report])
    return [reason["code"] for reason in evaluation.reasons]


# ---- indexes that pass -------------------------------------------------------------------------


def test_the_first_index_is_compared_with_baselines_and_passes(champion):
    assert evaluate(champion, None) == []


@pytest.mark.parametrize("seed", range(10))
def test_an_honest_rebuild_passes(champion, tmp_path, seed):
    """The same images in another order give another tree with other leaves."""
    again = build_candidate(shuffle_images(PUBLISHED, seed), tmp_path, max_features_id=NEWEST).index
    assert evaluate(Candidate(again, PUBLISHED), champion) == []


def test_an_index_with_pictures_that_are_not_published_passes(champion, tmp_path):
    candidate = Candidate(build_candidate(ALL_IMAGES, tmp_path).index, PUBLISHED)
    assert evaluate(candidate, champion, int(ALL_IMAGES.ids[-1])) == []


def test_images_missing_in_the_live_index_are_searched_exactly(tmp_path):
    """The live index has the first half. The rest is searched exactly, so recall is equal."""
    half = len(PUBLISHED) // 2
    half_index = build_candidate(
        PUBLISHED,
        tmp_path / "old",
        vectors=PUBLISHED.vectors[:half],
        ids=PUBLISHED.ids[:half],
        max_features_id=int(PUBLISHED.ids[half - 1]),
    )
    assert evaluate(build_candidate(PUBLISHED, tmp_path / "new"), half_index) == []


def test_an_index_of_another_encoder_is_compared_by_image(champion, tmp_path):
    rotation = np.linalg.qr(np.random.default_rng(3).normal(size=(48, 48)))[0].astype(np.float32)
    rotated = dataset.ImageSet(
        "2",
        PUBLISHED.ids + 9_000,
        PUBLISHED.vectors @ rotation,
        PUBLISHED.digests,
        PUBLISHED.categories,
        PUBLISHED.lightness,
        PUBLISHED.phash,
    )
    assert evaluate(build_candidate(rotated, tmp_path), champion, int(rotated.ids[-1])) == []


def test_too_few_images_give_no_verdict(tmp_path):
    with pytest.raises(UserError, match="needs 20"):
        gate.compare_candidates(build_candidate(make_images(19), tmp_path), None, 1_000)


@pytest.mark.parametrize("count", [20, 60, 200])
def test_indexes_of_small_sites_pass(tmp_path, count):
    images = make_images(count)
    first_index = build_candidate(images, tmp_path / "a")
    assert evaluate(first_index, None) == []
    assert evaluate(build_candidate(images, tmp_path / "b"), first_index) == []


# ---- indexes that are refused ------------------------------------------------------------------


def test_an_index_without_half_of_the_images_is_refused(champion, tmp_path):
    assert "missing_images" in evaluate(
        build_candidate(
            PUBLISHED, tmp_path, vectors=PUBLISHED.vectors[::2], ids=PUBLISHED.ids[::2]
        ),
        champion,
    )


def test_a_missing_category_is_named_in_the_reason(champion, tmp_path):
    mask = ~SMALL
    candidate = build_candidate(
        PUBLISHED, tmp_path, vectors=PUBLISHED.vectors[mask], ids=PUBLISHED.ids[mask]
    )
    evaluation, _ = gate.compare_candidates(candidate, champion, NEWEST)
    codes = ("missing_images", "missing_images_slice")
    reasons = [reason for reason in evaluation.reasons if reason["code"] in codes]
    assert reasons
    assert reasons[0].get("label", "small") == "small"


def test_vectors_with_nan_are_refused(champion, tmp_path):
    vectors = PUBLISHED.vectors.copy()
    vectors[::10] = np.nan
    candidate = build_candidate(PUBLISHED, tmp_path, vectors=vectors, exact_below=10_000)
    assert "not_finite" in evaluate(candidate, champion)


def test_another_dimension_is_refused(champion, tmp_path):
    assert evaluate(
        Candidate(build_candidate(make_images(3_000, dimension=32), tmp_path).index, PUBLISHED),
        champion,
    ) == ["dimension_mismatch"]


def test_vectors_of_another_preprocessing_are_refused(champion, tmp_path):
    """Vectors of images with other preprocessing are similar, but not those of the encoder."""
    noise = np.random.default_rng(5).normal(size=PUBLISHED.vectors.shape) * 0.12
    assert "different_vectors" in evaluate(
        build_candidate(
            PUBLISHED,
            tmp_path,
            vectors=normalise(PUBLISHED.vectors[:, ::-1] + noise.astype(np.float32)),
        ),
        champion,
    )


@pytest.mark.parametrize("in_category", [SEA, SMALL], ids=["sea", "small"])
def test_lower_recall_in_one_small_category_is_refused(champion, tmp_path, in_category):
    """Some ids of the category are swapped with others, so a tenth of its neighbours is lost."""
    ids, swapped = PUBLISHED.ids.copy(), np.flatnonzero(in_category)
    swapped = swapped[: max(3, len(swapped) // 6)]
    others = np.flatnonzero(~in_category)[: len(swapped)]
    ids[swapped], ids[others] = PUBLISHED.ids[others], PUBLISHED.ids[swapped]
    codes = evaluate(build_candidate(PUBLISHED, tmp_path, ids=ids), champion)
    assert {*codes} & {"worse_slice", "worse_small_category", "different_vectors", "worse_overall"}


def test_a_slow_index_is_refused(champion, tmp_path):
    candidate = build_candidate(PUBLISHED, tmp_path)
    original_find = candidate.index.find
    candidate.index.find = lambda queries, k: [original_find(queries, k) for _ in range(12)][-1]
    assert {*evaluate(candidate, champion)} & {"slower_than_champion", "slower_than_exact"}


def test_an_index_that_claims_future_images_is_refused(champion, tmp_path):
    candidate = build_candidate(PUBLISHED, tmp_path, max_features_id=NEWEST + 1_000)
    assert evaluate(candidate, champion) == ["future_images"]


def test_a_too_large_index_is_refused(champion, tmp_path):
    candidate = build_candidate(PUBLISHED, tmp_path)
    description = candidate.index.description
    description["files"] = {**description["files"], "index/dataset.npy": 100_000_000}
    assert evaluate(candidate, champion) == ["too_large"]


def test_random_results_are_refused(champion, tmp_path):
    ids = np.random.default_rng(1).permutation(PUBLISHED.ids)
    codes = evaluate(build_candidate(PUBLISHED, tmp_path, ids=ids), champion)
    assert "worse_overall" in codes
    assert "not_above_baseline" in codes or "different_vectors" in codes


def test_a_truncated_file_cannot_be_loaded(tmp_path):
    build_index(PUBLISHED, tmp_path)
    file = tmp_path / "index" / "dataset.npy"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(UserError, match="incomplete"):
        SimilarityIndex(tmp_path)
