"""The similarity index: recall against exact search, serving, subprocess builds, damaged files."""

import numpy as np
import pytest

from tanuki.animals.images import photo_files
from tanuki.animals.similarity import index
from tanuki.animals.similarity.index import CorruptIndex, SimilarityIndex
from tanuki.animals.similarity.subprocess_call import call_in_subprocess
from tanuki.errors import UserError
from tanuki.platform.mlops import runtimes
from tests.factories.image_embeddings import build_candidate, build_index, make_images, slice_images

ALL_IMAGES = make_images(3_200)
INDEXED, QUERIES = slice_images(ALL_IMAGES, 0, 3_000), ALL_IMAGES.vectors[3_000:]


@pytest.fixture(scope="module", params=["scann", "exact"])
def built_index(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    exact_below = 10_000 if request.param == "exact" else index.EXACT_BELOW
    assert build_index(INDEXED, folder, exact_below=exact_below)["method"] == request.param
    return SimilarityIndex(folder)


def search_exactly(query, k):
    return [
        int(INDEXED.ids[position])
        for position in np.argsort(-(INDEXED.vectors @ query), kind="stable")[:k]
    ]


def test_recall_against_exact_search_is_high(built_index):
    ids, scores = built_index.find(QUERIES, 10)
    hits = [
        len({*row} & {*search_exactly(query, 10)}) / 10
        for row, query in zip(ids.tolist(), QUERIES, strict=True)
    ]
    assert np.mean(hits) >= 0.97
    assert (np.diff(scores, axis=1) <= 1e-6).all()
    at = np.searchsorted(INDEXED.ids, ids)
    assert (INDEXED.ids[at] == ids).all()
    assert scores == pytest.approx(np.einsum("qd,qkd->qk", QUERIES, INDEXED.vectors[at]), abs=1e-5)


def test_an_indexed_vector_is_its_own_nearest_neighbour(built_index):
    ids, scores = built_index.find(INDEXED.vectors[:50], 1)
    assert (ids[:, 0] == INDEXED.ids[:50]).mean() > 0.95
    assert scores.max() == pytest.approx(1, abs=1e-3)


def test_missing_neighbours_are_filled_with_minus_one(tmp_path):
    small_index = build_candidate(make_images(30), tmp_path).index
    ids, scores = small_index.find(QUERIES[:2], 40)
    assert ids.shape == scores.shape == (2, 40)
    assert [sorted(row[:30]) for row in ids.tolist()] == [sorted(make_images(30).ids.tolist())] * 2
    assert (ids[:, 30:] == -1).all()


def test_the_index_runs_as_a_served_model_with_validated_inputs(built_index):
    inputs = runtimes.validate_inputs(
        "it", built_index.spec, {"embedding": QUERIES[:3], "k": np.array([5], np.int32)}
    )
    outputs = runtimes.validate_outputs(built_index.spec, inputs, built_index.run(inputs))
    assert (outputs["ids"].shape, outputs["ids"].dtype, outputs["scores"].dtype) == (
        (3, 5),
        np.int64,
        np.float32,
    )
    assert built_index.run(
        runtimes.validate_inputs("it", built_index.spec, {"embedding": QUERIES[:1]})
    )["ids"].shape == (1, index.DEFAULT_NEIGHBOURS)
    with pytest.raises(UserError, match="embedding"):
        runtimes.validate_inputs("it", built_index.spec, {"embedding": QUERIES[:1, :-1]})


def test_a_subprocess_builds_the_same_index(tmp_path):
    description = call_in_subprocess(index.build_index, INDEXED, tmp_path, 9_000)
    assert (
        description["method"],
        description["count"],
        description["encoder_version"],
        description["max_features_id"],
        description["kind"],
    ) == (
        "scann",
        3_000,
        "1",
        9_000,
        "similarity-index",
    )
    ids, _ = SimilarityIndex(tmp_path).find(QUERIES, 10)
    assert (
        np.mean(
            [
                len({*row} & {*search_exactly(query, 10)}) / 10
                for row, query in zip(ids.tolist(), QUERIES, strict=True)
            ]
        )
        >= 0.97
    )


def test_the_index_returns_the_vectors_it_was_built_from(built_index):
    assert np.allclose(built_index.all_vectors(), INDEXED.vectors, atol=1e-6)


@pytest.mark.parametrize(
    "file", ["ids.npy", "index/dataset.npy", "index/hashed_dataset.npy", "model.json"]
)
def test_a_truncated_file_is_refused(tmp_path, file):
    build_index(INDEXED, tmp_path)
    content = (tmp_path / file).read_bytes()
    (tmp_path / file).write_bytes(content[: len(content) // 2])
    with pytest.raises(CorruptIndex, match=r"incomplete|cannot be read"):
        SimilarityIndex(tmp_path)


def test_errors_of_a_subprocess_are_raised_in_the_caller():
    with pytest.raises(UserError, match="The file is empty") as caught:
        call_in_subprocess(photo_files.detect_source, b"")
    assert caught.value.message.startswith("The file is empty")
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        call_in_subprocess(divmod, 1, 0)
