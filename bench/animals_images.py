"""The decoder of uploads beside Pillow and libvips alone: speed, cost of bombs, JPEG quality.

    python -m bench.animals_images [--photos FOLDER]

All engines make the same three JPEGs of a photo: upright, sRGB, without metadata. Most photos are
generated; with a folder, 120 real ones are measured, too. Speed is given per second of one core's
processor time, which does not depend on how busy the machine is, and per second of wall-clock time.
Decompression bombs and 2,000 damaged files must be accepted or refused with a sentence, each within
two seconds of processor time and the decoder's memory limit.
"""

import argparse
import io
import os
import resource
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

os.environ["VIPS_CONCURRENCY"] = "1"  # one thread for every engine; read when libvips is loaded

import pyvips
from PIL import Image, ImageOps

from bench.lib.damaged_images import (
    draw_photo,
    encode_image,
    generate_damaged_files,
)
from bench.lib.decompression_bombs import build_bombs
from bench.lib.photos import add_photos_option, list_photos
from bench.lib.reporting import print_figures, print_target, write_results
from bench.lib.timing import time_call
from tanuki.animals.images import photo_files
from tanuki.animals.images.decoder import (
    MAX_CPU_SECONDS,
    MAX_MEMORY_MB,
    Decoder,
)
from tanuki.errors import UserError

GENERATED_PHOTOS = {
    "448 px": (448, 336, 60),
    "1600 px": (1600, 1064, 24),
    "4000 px": (4000, 3000, 8),
}
"""Width, height and number of photos, by name."""
REAL_PHOTOS = 120  # results of a run with fewer are not written
OTHER_FORMATS, PHOTOS_PER_FORMAT = ("png", "webp", "heic"), 4
DAMAGED_FILES = 2_000
START_ROUNDS = 5
QUALITIES = (75, 80, 82, 85, 90)
JPEG_OPTIONS: dict[str, dict[str, bool]] = {
    "plain": {},
    "optimised": {"optimize_coding": True},
    "progressive": {"optimize_coding": True, "interlace": True},
}
QUALITY_SIDE = 400
MAX_START_SECONDS = 0.5
MAX_CPU_SECONDS_PER_FILE = 2.0
MIN_PILLOW_RATIOS = {"448 px": 0.6, "1600 px": 1.0, "4000 px": 3.0}
"""Photos per second of a core, as a multiple of Pillow's in this process: the way to the decoder's
process and back takes a good part of the time of a small photo."""
OURS, PILLOW = "ours", "Pillow"
ACCEPTED, REFUSED = "accepted", "refused"

DECODER = Decoder()


def restart_decoder() -> None:
    """End the child processes, so that the next photo starts a new one."""
    DECODER.close()
    DECODER.peak_mb = 0


def read_cpu_seconds() -> float:
    """Processor time of this process and of its children that have ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


# ---- speed ---------------------------------------------------------------------------------------


def clean_by_decoder(content: bytes) -> dict[str, bytes]:
    """As the site does it: in a child process."""
    return photo_files.clean_image(DECODER, content).files


def clean_by_libvips(content: bytes) -> dict[str, bytes]:
    """Thumbnails of libvips in this process, each from the larger one."""
    image = pyvips.Image.thumbnail_buffer(
        content, 2048, height=2048, size="down", fail_on="truncated"
    ).copy_memory()
    files = {}
    for name, side in reversed(photo_files.PHOTO_SIDES.items()):
        image = image.thumbnail_image(side, height=side, size="down").copy_memory()
        files[name] = image.jpegsave_buffer(
            Q=photo_files.JPEG_QUALITY, keep="none", optimize_coding=True
        )
    return files


def clean_by_pillow(content: bytes) -> dict[str, bytes]:
    """Pillow in this process, which decodes a JPEG no larger than needed."""
    image = Image.open(io.BytesIO(content))
    image.draft("RGB", (2048, 2048))
    image = ImageOps.exif_transpose(image).convert("RGB")
    files = {}
    for name, side in reversed(photo_files.PHOTO_SIDES.items()):
        image.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=2.0)
        out = io.BytesIO()
        image.save(out, "JPEG", quality=photo_files.JPEG_QUALITY, optimize=True)
        files[name] = out.getvalue()
    return files


ENGINES: dict[str, Callable[[bytes], dict[str, bytes]]] = {
    OURS: clean_by_decoder,
    "libvips alone": clean_by_libvips,
    PILLOW: clean_by_pillow,
}


def measure_speed(engine: str, name: str, photos: Sequence[bytes]) -> dict[str, Any]:
    """Photos per second, of one core and by the clock.

    A child's processor time is known when it has ended. So the start of the decoder's child and its
    first photo are measured before, and subtracted. Of the other engines the first photo counts.
    """
    clean = ENGINES[engine]
    restart_decoder()
    before = read_cpu_seconds()
    clean(photos[0])
    restart_decoder()
    start_seconds = read_cpu_seconds() - before if engine == OURS else 0.0
    before = read_cpu_seconds()
    clean(photos[0])
    sizes, wall_seconds = time_call(
        lambda: [len(file) for photo in photos for file in clean(photo).values()]
    )
    restart_decoder()
    cpu_seconds = read_cpu_seconds() - before - start_seconds
    return {
        "photos": name,
        "engine": engine,
        "count": len(photos),
        "per_core_s": len(photos) / cpu_seconds,
        "per_s": len(photos) / wall_seconds,
        "bytes": sum(sizes),
    }


def measure_speeds(sets: dict[str, list[bytes]]) -> list[dict[str, Any]]:
    """Every engine on every set of JPEGs, and ours on other formats."""
    rows = [
        measure_speed(engine, name, photos) for name, photos in sets.items() for engine in ENGINES
    ]
    width, height, _ = GENERATED_PHOTOS["4000 px"]
    for source in OTHER_FORMATS:
        photos = [encode_image(draw_photo(1, width, height), source)] * PHOTOS_PER_FORMAT
        rows.append(measure_speed(OURS, f"4000 px {source}", photos))
    return rows


def measure_start() -> float:
    """Seconds until a new child process has cleaned a small photo: the best of five."""
    photo, seconds = encode_image(draw_photo(1, 64, 48), "jpeg"), []
    for _ in range(START_ROUNDS):
        restart_decoder()
        seconds.append(time_call(lambda: clean_by_decoder(photo))[1])
    return min(seconds)


# ---- bombs and damaged files ---------------------------------------------------------------------


def clean_or_refuse(content: bytes) -> str:
    """`accepted`, or the sentence of the refusal."""
    try:
        photo_files.clean_image(DECODER, content)
    except UserError as error:
        return str(error)
    return ACCEPTED


def measure_bomb(name: str, content: bytes) -> dict[str, Any]:
    """The cost of one file in a child process of its own. A killed one reports no memory."""
    restart_decoder()
    before = read_cpu_seconds()
    outcome, wall_seconds = time_call(lambda: clean_or_refuse(content))
    peak_mb = DECODER.peak_mb or None
    restart_decoder()
    return {
        "file": name,
        "bytes": len(content),
        "cpu_s": read_cpu_seconds() - before,
        "wall_s": wall_seconds,
        "peak_mb": peak_mb,
        "outcome": outcome,
    }


def measure_damaged_files() -> dict[str, Any]:
    """All damaged files, one after the other."""
    restart_decoder()
    files = [content for _, content in generate_damaged_files(DAMAGED_FILES)]
    before = read_cpu_seconds()
    results, seconds = time_call(
        lambda: [time_call(lambda file=file: clean_or_refuse(file)) for file in files]
    )
    peak_mb = DECODER.peak_mb
    restart_decoder()
    outcomes = Counter(outcome for outcome, _ in results)
    accepted = outcomes.pop(ACCEPTED, 0)
    return {
        "files": len(files),
        REFUSED: sum(outcomes.values()),
        ACCEPTED: accepted,
        "sentences": len({remove_numbers(sentence) for sentence in outcomes}),
        "slowest_s": max(seconds for _, seconds in results),
        "seconds": seconds,
        "cpu_s": read_cpu_seconds() - before,
        "peak_mb": peak_mb,
    }


def remove_numbers(sentence: str) -> str:
    """The first part of a sentence with # for each digit."""
    return "".join("#" if sign.isdigit() else sign for sign in sentence.split(";")[0])


# ---- quality -------------------------------------------------------------------------------------


def decode_for_quality(content: bytes) -> pyvips.Image:
    """A photo's pixels, about as large as a list shows them."""
    image = pyvips.Image.thumbnail_buffer(content, QUALITY_SIDE, height=QUALITY_SIDE, size="down")
    return image.colourspace("srgb").copy_memory()


def measure_qualities(images: Sequence[pyvips.Image]) -> list[dict[str, Any]]:
    return [
        measure_quality(quality, name, images) for quality in QUALITIES for name in JPEG_OPTIONS
    ]


def measure_quality(quality: int, name: str, images: Sequence[pyvips.Image]) -> dict[str, Any]:
    """Bytes, SSIM, and milliseconds to encode and decode, per photo."""
    count, options = len(images), JPEG_OPTIONS[name]
    start = time.process_time()
    files = [image.jpegsave_buffer(Q=quality, keep="none", **options) for image in images]
    encoded = time.process_time()
    copies = [pyvips.Image.jpegload_buffer(file).copy_memory() for file in files]
    decoded = time.process_time()
    return {
        "quality": quality,
        "encoding": name,
        "bytes": sum(map(len, files)) / count,
        "ssim": sum(map(measure_ssim, images, copies)) / count,
        "encode_ms": 1000 * (encoded - start) / count,
        "decode_ms": 1000 * (decoded - encoded) / count,
    }


def measure_ssim(image: pyvips.Image, original: pyvips.Image) -> float:
    """Structural similarity of the brightness (Wang and others, 2004)."""
    x, y = (picture.colourspace("b-w").cast("float") for picture in (image, original))
    mean_x, mean_y = x.gaussblur(1.5), y.gaussblur(1.5)
    variance_x = (x * x).gaussblur(1.5) - mean_x * mean_x
    variance_y = (y * y).gaussblur(1.5) - mean_y * mean_y
    covariance = (x * y).gaussblur(1.5) - mean_x * mean_y
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    numerator = (mean_x * mean_y * 2 + c1) * (covariance * 2 + c2)
    denominator = (mean_x * mean_x + mean_y * mean_y + c1) * (variance_x + variance_y + c2)
    return float((numerator / denominator).avg())


# ---- the report ----------------------------------------------------------------------------------


def print_tables(results: dict[str, Any]) -> None:
    print(f"{'photos':<14}{'engine':<16}{'per core-s':>12}{'per s':>10}{'kB a photo':>12}")
    for row in results["speed"]:
        print(
            f"{row['photos']:<14}{row['engine']:<16}{row['per_core_s']:>12.1f}"
            f"{row['per_s']:>10.1f}{row['bytes'] / row['count'] / 1000:>12.0f}"
        )
    print(
        f"\n{'quality':<9}{'encoding':<14}{'bytes':>9}{'SSIM':>8}{'encode ms':>11}{'decode ms':>11}"
    )
    for row in results["quality"]:
        print(
            f"{row['quality']:<9}{row['encoding']:<14}{row['bytes']:>9,.0f}{row['ssim']:>8.4f}"
            f"{row['encode_ms']:>11.2f}{row['decode_ms']:>11.2f}"
        )
    print(f"\n{'file':<46}{'bytes':>9}{'cpu s':>8}{'wall s':>8}{'peak MB':>9}  outcome")
    for row in results["bombs"]:
        print(
            f"{row['file']:<46}{row['bytes']:>9,}{row['cpu_s']:>8.2f}{row['wall_s']:>8.2f}"
            f"{row['peak_mb'] or 'killed':>9}  {row['outcome'][:60]}"
        )
    print("\ndamaged files:")
    print_figures(results["damaged"])


def print_targets(results: dict[str, Any]) -> None:
    start, damaged = results["start_s"], results["damaged"]
    worst = max(results["bombs"], key=lambda row: row["cpu_s"])
    peak = max(damaged["peak_mb"], *(row["peak_mb"] or 0 for row in results["bombs"]))
    print_target(
        start <= MAX_START_SECONDS,
        f"start and first photo of a child: {start:.2f} s (at most {MAX_START_SECONDS})",
    )
    print_target(
        worst["cpu_s"] <= MAX_CPU_SECONDS_PER_FILE,
        f"the worst file costs {worst['cpu_s']:.2f} s of processor time: {worst['file']}"
        f" (at most {MAX_CPU_SECONDS_PER_FILE}; killed at {MAX_CPU_SECONDS})",
    )
    print_target(peak <= MAX_MEMORY_MB, f"most memory: {peak} MB (at most {MAX_MEMORY_MB})")
    print_target(
        damaged[ACCEPTED] + damaged[REFUSED] == DAMAGED_FILES,
        f"{damaged['files']} damaged files: all accepted or refused with a sentence",
    )
    rates = {(row["photos"], row["engine"]): row["per_core_s"] for row in results["speed"]}
    for name, minimum in MIN_PILLOW_RATIOS.items():
        ratio = rates[name, OURS] / rates[name, PILLOW]
        print_target(
            ratio >= minimum,
            f"{name}: {ratio:.2f} × the photos of Pillow per core (at least {minimum})",
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_photos_option(parser, required=False)
    options = parser.parse_args()
    sets = {
        name: [encode_image(draw_photo(seed, width, height), "jpeg") for seed in range(count)]
        for name, (width, height, count) in GENERATED_PHOTOS.items()
    }
    quality_photos = sets["448 px"]
    if options.photos:
        files = list_photos(options.photos)[:REAL_PHOTOS]
        quality_photos = [file.read_bytes() for file in files]
        sets[f"{len(files)} real"] = quality_photos
    results = {
        "start_s": measure_start(),
        "speed": measure_speeds(sets),
        "quality": measure_qualities([decode_for_quality(photo) for photo in quality_photos]),
        "bombs": [measure_bomb(name, content) for name, content in build_bombs().items()],
        "damaged": measure_damaged_files(),
    }
    print_tables(results)
    print_targets(results)
    if len(quality_photos) >= REAL_PHOTOS:
        write_results("animals_images", results)


if __name__ == "__main__":
    main()
