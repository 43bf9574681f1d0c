"""Any file gives a clean picture or one sentence.

No crash, no hang, within two seconds of processor time and 512 MB.
"""

import io
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from bench.lib.damaged_images import (
    build_foreign_files,
    build_unusual_images,
    generate_damaged_files,
)
from bench.lib.decompression_bombs import build_bombs, build_many_scans
from PIL import Image

from tanuki.animals.images import decoder, photo_files
from tanuki.animals.images.decoder import MAX_MEMORY_MB, MAX_WALL_SECONDS
from tanuki.errors import UserError
from tests.factories.decoding import DECODER, clean_image

SENTENCES = (
    "The file is empty;",
    "The file is not a picture that we know;",
    "The file is ",
    "The picture has ",
    "Reading the ",
    "The JPEG picture is damaged",
    "The PNG picture is damaged",
    "The WebP picture is damaged",
    "The HEIC picture is damaged",
)
OVERHEAD_SECONDS = 2.0  # on a busy machine: the start of a child process, the test's own work


def decode_file(content: bytes) -> tuple[str, float]:
    """`a picture` or the error's sentence, and the seconds that it took."""
    start = time.perf_counter()
    try:
        clean_photo = clean_image(content)
    except UserError as error:
        return str(error), time.perf_counter() - start
    seconds = time.perf_counter() - start
    with Image.open(io.BytesIO(clean_photo.files["list"])) as small:
        assert max(small.size) <= photo_files.PHOTO_SIDES["list"]
        small.load()
    return "a picture", seconds


def decode_files(files: Iterable[tuple[str, bytes]]) -> dict[str, set[str]]:
    """The outcomes of each kind of file, after a check of what must hold for all."""
    names_and_files = list(files)
    with ThreadPoolExecutor(4) as threads:
        results = list(threads.map(decode_file, (content for _, content in names_and_files)))
    outcomes: dict[str, set[str]] = {}
    for (name, _), (outcome, seconds) in zip(names_and_files, results, strict=True):
        assert outcome == "a picture" or outcome.startswith(SENTENCES), (name, outcome)
        assert "\n" not in outcome and len(outcome) < 160, (name, outcome)
        # A file that is before it in the queue may take as long.
        assert seconds < 2 * MAX_WALL_SECONDS + OVERHEAD_SECONDS, (name, seconds)
        outcomes.setdefault(name, set()).add(outcome)
    assert DECODER.peak_mb <= MAX_MEMORY_MB
    return outcomes


def accepted_names(outcomes: dict[str, set[str]]) -> set[str]:
    """Kinds of file of which at least one became a picture."""
    return {name for name, results in outcomes.items() if "a picture" in results}


def test_damaged_files_give_a_picture_or_a_sentence():
    outcomes = decode_files(generate_damaged_files(300))
    accepted_kinds = {name for name, results in outcomes.items() if results == {"a picture"}}
    assert accepted_kinds >= set(build_unusual_images())
    for name in accepted_names(outcomes):
        assert name not in build_foreign_files() and "prepend_signature" not in name


@pytest.mark.slow
def test_two_thousand_damaged_files_give_a_picture_or_a_sentence():
    outcomes = decode_files(generate_damaged_files(2000, seed=2))
    for source in ("jpeg", "png", "webp", "heic"):
        sentences = {
            outcome
            for outcome in outcomes[f"{source} truncate"]
            if "damaged or incomplete" in outcome
        }
        assert len(sentences) == 1
    for name in accepted_names(outcomes):
        assert name not in build_foreign_files() and "prepend_signature" not in name


@pytest.mark.parametrize("name", build_bombs())
def test_a_decompression_bomb_costs_little(name):
    outcome, seconds = decode_file(build_bombs()[name])
    assert seconds < MAX_WALL_SECONDS + OVERHEAD_SECONDS
    assert DECODER.peak_mb <= MAX_MEMORY_MB
    if any(size in name for size in ("100 MP", "268 MP", "900 MP", "4,290 MP")):
        assert outcome.startswith("The picture has")
        assert outcome.endswith("pixels; expected at most 50 million.")


def test_a_picture_that_takes_too_long_is_refused(monkeypatch):
    monkeypatch.setattr(decoder, "MAX_CPU_SECONDS", 0.4)
    outcome, seconds = decode_file(build_many_scans())
    assert outcome == (
        "Reading the JPEG picture took longer than the 2 seconds that one may take;"
        " expected a smaller or simpler one."
    )
    assert seconds < MAX_WALL_SECONDS + OVERHEAD_SECONDS
    assert decode_file(build_unusual_images()["jpeg of one pixel"])[0] == "a picture"


def test_real_photos_are_accepted(photos):
    assert {decode_file(photo.read_bytes())[0] for photo in photos[:60]} == {"a picture"}


@pytest.fixture
def photos():
    """Real photos, where there are some beside the project."""
    files = sorted((Path(__file__).parents[4] / "shared" / "data" / "photos").glob("*.jpg"))
    if not files:
        pytest.skip("no real photos here")
    return files
