"""How fast pictures come in beside Pillow and libvips alone, what the worst files cost, what quality costs in bytes, and what becomes of 2,000 broken files.

    python bench/animals_images.py [--photos ../shared/data/photos]

Photos are made by code from a seed; real ones are taken too where there are some. Everybody makes the same three JPEGs of a photo: upright, sRGB, without metadata. Speed is given per second of
one core's computing, so that a busy machine does not matter, and per second of the clock.
"""

# ruff: noqa: E402 the environment and the path come first

import argparse
import io
import json
import os
import resource
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["VIPS_CONCURRENCY"] = "1"  # per core: everybody has one thread

import pyvips
from PIL import Image, ImageOps

ROOT = Path(__file__).parents[1]

from bench.lib.damaged_images import encode_image, generate_damaged_files, draw_photo
from bench.lib.decompression_bombs import build_bombs
from tanuki.animals.images import photo_files
from tanuki.animals.images.decoder import MAX_CPU_SECONDS, MAX_MEMORY_MB, Decoder
from tanuki.errors import UserError

RESULTS = Path(__file__).parent / "results" / "animals_images.json"
PHOTOS = ROOT.parent / "shared" / "data" / "photos"
MADE = {
    "448 px": (448, 336, 60),
    "1600 px": (1600, 1064, 24),
    "4000 px": (4000, 3000, 8),
}  # width, height, how many
QUALITIES = (75, 80, 82, 85, 90)
BROKEN = 2000
START_S = 0.5
AT_LEAST = {
    "448 px": 0.6,
    "1600 px": 1.0,
    "4000 px": 3.0,
}  # times Pillow in this process; handing over to another process is a good part of a small picture

DECODER = Decoder()
Pictures = list[bytes]


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--photos", type=Path, default=PHOTOS)
    real = sorted(options.parse_args().photos.glob("*.jpg"))[:120]
    sets = {
        name: [encode_image(draw_photo(n, width, height), "jpeg") for n in range(count)]
        for name, (width, height, count) in MADE.items()
    }
    if real:
        sets[f"{len(real)} real"] = [path.read_bytes() for path in real]
    speeds = [
        speed(engine, name, pictures) for name, pictures in sets.items() for engine in ENGINES
    ]
    other = [
        speed("ours", f"4000 px {source}", [encode_image(draw_photo(1, 4000, 3000), source)] * 4)
        for source in ("png", "webp", "heic")
    ]
    found = {
        "start_s": start_s(),
        "speed": speeds + other,
        "quality": quality(
            [
                decoded(content)
                for content in (sets[f"{len(real)} real"] if real else sets["448 px"])
            ]
        ),
        "heavy": [cost(name, content) for name, content in build_bombs().items()],
        "broken": broken(),
    }
    found["targets"] = targets(found)
    show(found)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def restart_decoder() -> None:
    """End the child processes, so that the next picture starts a new one."""
    DECODER.close()
    DECODER.peak_mb = 0


# ---- speed ---------------------------------------------------------------------------------------------------------


def ours(content: bytes) -> dict[str, bytes]:
    """As the network takes a picture in: in a child process."""
    return photo_files.clean_image(DECODER, content).files


def vips(content: bytes) -> dict[str, bytes]:
    """libvips' own thumbnails, in this process, each from the one before it."""
    image = pyvips.Image.thumbnail_buffer(
        content, 2048, height=2048, size="down", fail_on="truncated"
    ).copy_memory()
    files = {}
    for name, size in reversed(photo_files.PHOTO_SIDES.items()):
        image = image.thumbnail_image(size, height=size, size="down").copy_memory()
        files[name] = image.jpegsave_buffer(
            Q=photo_files.JPEG_QUALITY, keep="none", optimize_coding=True
        )
    return files


def pillow(content: bytes) -> dict[str, bytes]:
    """Pillow, in this process, decoding a JPEG no larger than it has to."""
    image = Image.open(io.BytesIO(content))
    image.draft("RGB", (2048, 2048))
    image = ImageOps.exif_transpose(image).convert("RGB")
    files = {}
    for name, size in reversed(photo_files.PHOTO_SIDES.items()):
        image.thumbnail((size, size), Image.Resampling.LANCZOS, reducing_gap=2.0)
        out = io.BytesIO()
        image.save(out, "JPEG", quality=photo_files.JPEG_QUALITY, optimize=True)
        files[name] = out.getvalue()
    return files


ENGINES: dict[str, Callable[[bytes], dict[str, bytes]]] = {
    "ours": ours,
    "libvips alone": vips,
    "Pillow": pillow,
}


def speed(engine: str, name: str, pictures: Pictures) -> dict[str, Any]:
    """Pictures per second, of one core and of the clock. The children's computing is known when they have ended."""
    make = ENGINES[engine]
    restart_decoder()
    busy = computing()
    make(pictures[0])  # what is loaded once is not counted: the child's start least of all
    restart_decoder()
    once = computing() - busy if engine == "ours" else 0.0
    busy = computing()
    make(pictures[0])
    begun = time.perf_counter()
    sizes = [len(file) for content in pictures for file in make(content).values()]
    wall = time.perf_counter() - begun
    restart_decoder()
    spent = computing() - busy - once
    return {
        "pictures": name,
        "engine": engine,
        "per_core_s": len(pictures) / spent,
        "per_s": len(pictures) / wall,
        "bytes": sum(sizes),
    }


def computing() -> float:
    """Seconds that this process and its ended children have computed."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def start_s() -> float:
    """From nothing to the first picture: a child that starts and one small job, the best of five."""
    small, best = encode_image(draw_photo(1, 64, 48), "jpeg"), 60.0
    for _ in range(5):
        restart_decoder()
        begun = time.perf_counter()
        photo_files.clean_image(DECODER, small)
        best = min(best, time.perf_counter() - begun)
    return best


# ---- what the worst files cost -------------------------------------------------------------------------------------


def cost(name: str, content: bytes) -> dict[str, Any]:
    """One file in a child of its own."""
    restart_decoder()
    busy = computing()
    said, seconds = outcome(content)
    peak = DECODER.peak_mb or None  # a child that was killed did not say
    restart_decoder()
    return {
        "file": name,
        "bytes": len(content),
        "cpu_s": computing() - busy,
        "wall_s": seconds,
        "peak_mb": peak,
        "said": said,
    }


def outcome(content: bytes) -> tuple[str, float]:
    """`accepted` or the sentence, and seconds of the clock."""
    begun = time.perf_counter()
    try:
        photo_files.clean_image(DECODER, content)
    except UserError as error:
        return str(error), time.perf_counter() - begun
    return "accepted", time.perf_counter() - begun


def broken() -> dict[str, Any]:
    """All the broken files, one after the other."""
    restart_decoder()
    files = list(generate_damaged_files(BROKEN))
    busy, begun = computing(), time.perf_counter()
    outcomes = [outcome(content) for _, content in files]
    seconds, peak = time.perf_counter() - begun, DECODER.peak_mb
    restart_decoder()
    said = Counter("accepted" if words == "accepted" else "a sentence" for words, _ in outcomes)
    return {
        "files": len(files),
        **said,
        "kinds_of_sentence": len(
            {
                words.split(";")[0].translate(dict.fromkeys(range(48, 58), "#"))
                for words, _ in outcomes
            }
        )
        - 1,
        "slowest_s": max(each for _, each in outcomes),
        "seconds": seconds,
        "cpu_s": computing() - busy,
        "peak_mb": peak,
    }


# ---- quality -------------------------------------------------------------------------------------------------------


def decoded(content: bytes) -> Any:
    """A photo's pixels, at most as large as a page shows them."""
    return (
        pyvips.Image.thumbnail_buffer(content, 400, height=400, size="down")
        .colourspace("srgb")
        .copy_memory()
    )


def quality(pictures: list[Any]) -> list[dict[str, Any]]:
    """What each quality costs and gives: bytes, similarity (SSIM of the brightness), milliseconds to write and to read."""
    lines = []
    for number in QUALITIES:
        for way, how in {
            "plain": {},
            "optimised": {"optimize_coding": True},
            "progressive": {"optimize_coding": True, "interlace": True},
        }.items():
            busy = time.process_time()
            files = [image.jpegsave_buffer(Q=number, keep="none", **how) for image in pictures]
            wrote, busy = time.process_time() - busy, time.process_time()
            read = [pyvips.Image.jpegload_buffer(file).copy_memory() for file in files]
            took = time.process_time() - busy
            line = {
                "quality": number,
                "way": way,
                "bytes": sum(map(len, files)) / len(files),
                "similarity": sum(map(similarity, pictures, read)) / len(read),
            }
            lines.append(
                {**line, "write_ms": 1000 * wrote / len(files), "read_ms": 1000 * took / len(files)}
            )
    return lines


def similarity(one: Any, other: Any) -> float:
    """SSIM of two pictures' brightness with Wang's constants."""
    a, b = (image.colourspace("b-w").cast("float") for image in (one, other))
    mean_a, mean_b, both = a.gaussblur(1.5), b.gaussblur(1.5), (a * b).gaussblur(1.5)
    vary_a, vary_b = (
        (a * a).gaussblur(1.5) - mean_a * mean_a,
        (b * b).gaussblur(1.5) - mean_b * mean_b,
    )
    top = (mean_a * mean_b * 2 + 6.5025) * ((both - mean_a * mean_b) * 2 + 58.5225)
    return float(
        (top / ((mean_a * mean_a + mean_b * mean_b + 6.5025) * (vary_a + vary_b + 58.5225))).avg()
    )


# ---- what is said --------------------------------------------------------------------------------------------------


def targets(found: dict[str, Any]) -> list[str]:
    """What the numbers have to be, and whether they are."""
    rate = {(line["pictures"], line["engine"]): line["per_core_s"] for line in found["speed"]}
    worst = max(found["heavy"], key=lambda line: line["cpu_s"])
    peak = max(found["broken"]["peak_mb"], *(line["peak_mb"] or 0 for line in found["heavy"]))
    said = [
        (
            found["start_s"] <= START_S,
            f"a child starts and does its first job in {found['start_s']:.2f} s (at most {START_S})",
        ),
        (
            worst["cpu_s"] <= 2.0,
            f"the worst file costs {worst['cpu_s']:.2f} s of computing: {worst['file']} (at most 2; killed at {MAX_CPU_SECONDS})",
        ),
        (peak <= MAX_MEMORY_MB, f"the most memory was {peak} MB (at most {MAX_MEMORY_MB})"),
        (
            found["broken"]["files"] >= BROKEN,
            f"{found['broken']['files']} broken files: all accepted or answered with a sentence",
        ),
    ]
    for name, least in AT_LEAST.items():
        times = rate[name, "ours"] / rate[name, "Pillow"]
        said.append(
            (
                times >= least,
                f"{name}: {times:.2f} × as many pictures as Pillow, per core (at least {least} ×)",
            )
        )
    return [f"{'ok  ' if good else 'MISS'} {words}" for good, words in said]


def show(found: dict[str, Any]) -> None:
    """The tables."""
    print(f"{'pictures':<14}{'engine':<16}{'per s of a core':>16}{'per s':>10}{'kB a picture':>14}")
    counts = {name: count for name, (_, _, count) in MADE.items()}
    for line in found["speed"]:
        count = counts.get(line["pictures"]) or (
            int(line["pictures"].split()[0]) if "real" in line["pictures"] else 4
        )
        print(
            f"{line['pictures']:<14}{line['engine']:<16}{line['per_core_s']:>16.1f}{line['per_s']:>10.1f}{line['bytes'] / count / 1000:>14.0f}"
        )
    print(
        f"\n{'quality':<9}{'way':<14}{'bytes':>9}{'similarity':>10}{'write, ms':>11}{'read, ms':>10}"
    )
    for line in found["quality"]:
        print(
            f"{line['quality']:<9}{line['way']:<14}{line['bytes']:>9,.0f}{line['similarity']:>10.4f}{line['write_ms']:>11.2f}{line['read_ms']:>10.2f}"
        )
    print(f"\n{'file':<46}{'bytes':>9}{'cpu, s':>8}{'wall, s':>9}{'peak, MB':>10}  said")
    for line in found["heavy"]:
        print(
            f"{line['file']:<46}{line['bytes']:>9,}{line['cpu_s']:>8.2f}{line['wall_s']:>9.2f}{line['peak_mb'] or 'killed':>10}  {line['said'][:80]}"
        )
    print(
        "\n"
        + "  ".join(
            f"{key} {value:.2f}" if isinstance(value, float) else f"{key} {value}"
            for key, value in found["broken"].items()
        )
    )
    print("\n" + "\n".join(found["targets"]))


if __name__ == "__main__":
    main()
