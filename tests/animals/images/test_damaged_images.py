"""Whatever is sent: a clean picture or one sentence, no crash, no hang, within two seconds of computing and 512 MB."""

import io
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from bench.lib.damaged_images import honest, mutated, strangers
from bench.lib.decompression_bombs import heavy, many_scans
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
OVERHEAD_S = 2.0  # on a busy machine: a child that starts, the test's own work


def outcome(content: bytes) -> tuple[str, float]:
    """`a picture` or the sentence, and how long it took."""
    begun = time.perf_counter()
    try:
        accepted = clean_image(content)
    except UserError as error:
        return str(error), time.perf_counter() - begun
    seconds = time.perf_counter() - begun
    with Image.open(io.BytesIO(accepted.files["list"])) as small:
        assert max(small.size) <= photo_files.PHOTO_SIDES["list"]
        small.load()
    return "a picture", seconds


def survived(files: Iterable[tuple[str, bytes]]) -> dict[str, set[str]]:
    """What became of each kind of file, after checking what must hold for all."""
    named = list(files)
    with ThreadPoolExecutor(4) as threads:
        outcomes = list(threads.map(outcome, (content for _, content in named)))
    became: dict[str, set[str]] = {}
    for (name, _), (said, seconds) in zip(named, outcomes, strict=True):
        assert said == "a picture" or said.startswith(SENTENCES), (name, said)
        assert "\n" not in said and len(said) < 160, (name, said)
        assert seconds < 2 * MAX_WALL_SECONDS + OVERHEAD_S, (
            name,
            seconds,
        )  # one before it in the queue may take as long
        became.setdefault(name, set()).add(said)
    assert DECODER.peak_mb <= MAX_MEMORY_MB
    return became


def test_mutated_pictures_get_a_picture_or_a_sentence():
    became = survived(mutated(300))
    assert {name for name, said in became.items() if said == {"a picture"}} >= set(honest())
    assert not any(
        "a picture" in said
        for name, said in became.items()
        if name in strangers() or "behind_another" in name
    )


@pytest.mark.slow
def test_two_thousand_mutated_pictures_get_a_picture_or_a_sentence():
    became = survived(mutated(2000, seed=2))
    for source in ("jpeg", "png", "webp", "heic"):
        damaged = {
            said for said in became[f"{source} truncated"] if "damaged or incomplete" in said
        }
        assert len(damaged) == 1
    assert not any(
        "a picture" in said
        for name, said in became.items()
        if name in strangers() or "behind_another" in name
    )


@pytest.mark.parametrize("name", heavy())
def test_what_would_cost_much_costs_little(name):
    said, seconds = outcome(heavy()[name])
    assert seconds < MAX_WALL_SECONDS + OVERHEAD_S
    assert DECODER.peak_mb <= MAX_MEMORY_MB
    if any(size in name for size in ("100 MP", "268 MP", "900 MP", "4,290 MP")):
        assert said.startswith("The picture has") and said.endswith(
            "pixels; expected at most 50 million."
        )


def test_a_picture_that_takes_too_long_is_given_up(monkeypatch):
    monkeypatch.setattr(decoder, "MAX_CPU_SECONDS", 0.4)
    said, seconds = outcome(many_scans())
    assert (
        said
        == "Reading the JPEG picture took longer than the 2 seconds that one may take; expected a smaller or simpler one."
    )
    assert seconds < MAX_WALL_SECONDS + OVERHEAD_S
    assert outcome(honest()["jpeg of one pixel"])[0] == "a picture"


def test_real_photos_come_in(photos):
    assert {outcome(path.read_bytes())[0] for path in photos[:60]} == {"a picture"}


@pytest.fixture
def photos():
    """Real photos, where there are some beside the project."""
    found = sorted((Path(__file__).parents[4] / "shared" / "data" / "photos").glob("*.jpg"))
    if not found:
        pytest.skip("no real photos here")
    return found
