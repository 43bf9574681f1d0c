"""The index: it finds what an exact search finds, from its files as from memory, and files that are not whole are refused."""

import numpy as np
import pytest

from tanuki.animals.images import photo_files
from tanuki.animals.similarity import index
from tanuki.animals.similarity.index import CorruptIndex, SimilarityIndex
from tanuki.animals.similarity.subprocess_call import call_in_subprocess
from tanuki.errors import UserError
from tanuki.platform.mlops import runtimes
from tests.factories.image_embeddings import build_candidate, build_index, make_images, slice_images

EVERY = make_images(3_200)
SHOWN, NEW = slice_images(EVERY, 0, 3_000), EVERY.vectors[3_000:]


@pytest.fixture(scope="module", params=["scann", "exact"])
def found(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    exact_below = 10_000 if request.param == "exact" else index.EXACT_BELOW
    assert build_index(SHOWN, folder, exact_below=exact_below)["method"] == request.param
    return SimilarityIndex(folder)


def by_hand(query, k):
    return [int(SHOWN.ids[at]) for at in np.argsort(-(SHOWN.vectors @ query), kind="stable")[:k]]


def test_it_finds_nearly_all_that_comparing_with_every_vector_finds(found):
    ids, scores = found.find(NEW, 10)
    hits = [
        len({*row} & {*by_hand(query, 10)}) / 10
        for row, query in zip(ids.tolist(), NEW, strict=True)
    ]
    assert np.mean(hits) >= 0.97
    assert (np.diff(scores, axis=1) <= 1e-6).all()
    at = np.searchsorted(SHOWN.ids, ids)
    assert (SHOWN.ids[at] == ids).all()
    assert scores == pytest.approx(np.einsum("qd,qkd->qk", NEW, SHOWN.vectors[at]), abs=1e-5)


def test_a_vector_of_its_own_is_the_first_that_is_found(found):
    ids, scores = found.find(SHOWN.vectors[:50], 1)
    assert (ids[:, 0] == SHOWN.ids[:50]).mean() > 0.95
    assert scores.max() == pytest.approx(1, abs=1e-3)


def test_where_there_are_fewer_than_asked_for_the_rest_is_minus_one(tmp_path):
    few = build_candidate(make_images(30), tmp_path).index
    ids, scores = few.find(NEW[:2], 40)
    assert ids.shape == scores.shape == (2, 40)
    assert [sorted(row[:30]) for row in ids.tolist()] == [
        sorted(make_images(30).ids.tolist())
    ] * 2
    assert (ids[:, 30:] == -1).all()


def test_a_server_runs_it_as_any_model_and_refuses_another_dimension(found):
    inputs = runtimes.validate_inputs(
        "it", found.spec, {"embedding": NEW[:3], "k": np.array([5], np.int32)}
    )
    outputs = runtimes.validate_outputs(found.spec, inputs, found.run(inputs))
    assert (outputs["ids"].shape, outputs["ids"].dtype, outputs["scores"].dtype) == (
        (3, 5),
        np.int64,
        np.float32,
    )
    assert found.run(runtimes.validate_inputs("it", found.spec, {"embedding": NEW[:1]}))[
        "ids"
    ].shape == (1, index.DEFAULT_NEIGHBOURS)
    with pytest.raises(UserError, match="embedding"):
        runtimes.validate_inputs("it", found.spec, {"embedding": NEW[:1, :-1]})


def test_a_child_process_builds_the_same_index(tmp_path):
    said = call_in_subprocess(index.build_index, SHOWN, tmp_path, 9_000)
    assert (
        said["method"],
        said["count"],
        said["encoder_version"],
        said["max_features_id"],
        said["kind"],
    ) == (
        "scann",
        3_000,
        "1",
        9_000,
        "similarity-index",
    )
    ids, _ = SimilarityIndex(tmp_path).find(NEW, 10)
    assert (
        np.mean(
            [
                len({*row} & {*by_hand(query, 10)}) / 10
                for row, query in zip(ids.tolist(), NEW, strict=True)
            ]
        )
        >= 0.97
    )


def test_it_holds_the_vectors_that_it_was_made_from(found):
    assert np.allclose(found.all_vectors(), SHOWN.vectors, atol=1e-6)


@pytest.mark.parametrize(
    "file", ["ids.npy", "index/dataset.npy", "index/hashed_dataset.npy", "model.json"]
)
def test_half_a_file_is_refused_in_a_sentence(tmp_path, file):
    build_index(SHOWN, tmp_path)
    content = (tmp_path / file).read_bytes()
    (tmp_path / file).write_bytes(content[: len(content) // 2])
    with pytest.raises(CorruptIndex, match=r"incomplete|cannot be read"):
        SimilarityIndex(tmp_path)


def test_what_a_child_process_refuses_is_refused_here_and_what_breaks_it_is_told():
    with pytest.raises(UserError, match="The file is empty") as told:
        call_in_subprocess(photo_files.detect_source, b"")
    assert told.value.message.startswith("The file is empty")
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        call_in_subprocess(divmod, 1, 0)
