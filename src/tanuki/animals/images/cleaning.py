"""The child process of the decoder: untrusted bytes in, upright sRGB JPEGs without metadata out.

It is run as a script, apart from the package, so that it starts at once and holds nothing worth
stealing. It knows nothing of Tanuki, and what happens to it happens to one picture. A job is a line
of JSON and the picture's bytes on the standard input; its answer is a line of JSON and the files'
bytes on the standard output. At the end of its input the process ends.
"""

import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

import pillow_heif
import pyvips

# A JPEG can be decoded at 1/2, 1/4 or 1/8 of its size for a fraction of the work. A tenth less than
# the largest size is accepted for that.
MIN_REDUCED_SHARE = 0.9
LOADERS = {
    "jpeg": "VipsForeignLoadJpegBuffer",
    "png": "VipsForeignLoadPngBuffer",
    "webp": "VipsForeignLoadWebpBuffer",
}
# How the libraries report a lack of memory.
MEMORY_ERRORS = ("out of memory", "memory allocation", "bad_alloc")
# How libheif reports headers that announce impossible sizes; it adds that memory was lacking.
FALSE_HEADER_ERROR = "security limit exceeded"
# On a busy machine pages go before pictures.
PROCESS_PRIORITY = 5
# How HEIC without a colour profile names Display P3.
P3_PRIMARIES = 12
BANDS_BY_MODE = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4}


class RefusedImageError(ValueError):
    """The picture is not decoded, for a reason that the parent has a sentence for."""

    def __init__(self, reason: str, **values: int) -> None:
        super().__init__(reason)
        self.answer = {"refused": reason, **values}


def main() -> None:
    """Report that the process is ready, then do one job after the other.

    The argument is the number of bytes that it may allocate.
    """
    restrict_process(int(sys.argv[1]))
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    answers.write(b"\n")
    answers.flush()
    while line := requests.readline():
        job = json.loads(line)
        content = requests.read(job["bytes"])
        set_time_limits(job["cpu_s"], job["wall_s"])
        answer, files = answer_job(content, job)
        set_time_limits(0, 0)
        del content
        answers.write(json.dumps({**answer, "peak_mb": measure_peak_mb()}).encode() + b"\n")
        answers.writelines(files)
        answers.flush()


def restrict_process(memory: int) -> None:
    """Take away what decoding does not need: memory, files, core dumps, libvips' other formats."""
    os.nice(PROCESS_PRIORITY)
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))
    pyvips.operation_block_set("VipsForeignLoad", True)
    for loader in LOADERS.values():
        pyvips.operation_block_set(loader, False)
    pyvips.cache_set_max(0)
    pillow_heif.options.DECODE_THREADS = 1  # there is a process for each core
    pillow_heif.options.THUMBNAILS = False


def set_time_limits(cpu_s: float, wall_s: float) -> None:
    """End this process by a signal after so much computing, or so much time; 0 for no limit."""
    signal.setitimer(signal.ITIMER_PROF, cpu_s)
    signal.setitimer(signal.ITIMER_REAL, wall_s)


def measure_peak_mb() -> int:
    """The most memory that this process has ever had.

    `ru_maxrss` begins with the parent's value, so it is used only where /proc does not exist.
    """
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().partition("VmHWM:")[2].split()[0]) // 1024
    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) // 1024


def answer_job(content: bytes, job: dict[str, Any]) -> tuple[dict[str, Any], list[bytes]]:
    """The answer to a job and the files that follow it."""
    try:
        return clean_image(content, job)
    except RefusedImageError as refusal:
        return refusal.answer, []
    except MemoryError:
        return {"refused": "memory"}, []
    # The last five are what pillow-heif raises.
    except (pyvips.Error, ValueError, RuntimeError, EOFError, SyntaxError, OSError) as error:
        message = str(error).lower()
        lacks_memory = (
            any(words in message for words in MEMORY_ERRORS) and FALSE_HEADER_ERROR not in message
        )
        return {"refused": "memory" if lacks_memory else "damaged"}, []


def clean_image(content: bytes, job: dict[str, Any]) -> tuple[dict[str, Any], list[bytes]]:
    """The picture in every size; the largest is decoded, each other one made from the one before.

    `optimize_coding` (Huffman tables fitted to the picture) saves 4 % of the bytes and takes two
    thirds more time. Progressive files would save another 3 %, but take twice the time to write and
    half as much again to read.
    """
    longest = max(job["sizes"].values())
    image = decode_image(content, job["source"], longest, job["pixels"])
    image = to_upright_srgb(shrink_image(image, longest))
    width, height, files, file = image.width, image.height, {}, b""
    for name, size in sorted(job["sizes"].items(), key=lambda item: -item[1]):
        if max(image.width, image.height) > size:
            image, file = shrink_image(image, size).copy_memory(), b""
        file = file or image.jpegsave_buffer(Q=job["quality"], keep="none", optimize_coding=True)
        files[name] = file
    answer = {
        "width": width,
        "height": height,
        "colour": mean_colour(image),
        "files": {name: len(file) for name, file in files.items()},
    }
    return answer, list(files.values())


def mean_colour(image: pyvips.Image) -> str:
    """#rrggbb."""
    table = image.stats()  # a row for all bands, then one for each; the fifth column is the mean
    return "#" + "".join(f"{round(table(4, band)[0]):02x}" for band in (1, 2, 3))


def decode_image(content: bytes, source: str, longest: int, pixels: int) -> pyvips.Image:
    """The picture, only as large as it has to be if its format allows that; decoded when used."""
    if source == "heic":
        return decode_heic(content, pixels)
    if source == "webp":
        # Before it is opened: opening takes memory for all pixels already.
        refuse_large_image(*read_webp_size(content), pixels)
    load = getattr(pyvips.Image, f"{source}load_buffer")
    options: dict[str, Any] = {"access": "sequential", "fail_on": "truncated"}
    image = load(content, **options)
    refuse_large_image(image.width, image.height, pixels)
    side = max(image.width, image.height)
    if source == "jpeg":
        shrink = max(n for n in (1, 2, 4, 8) if n == 1 or side / n >= MIN_REDUCED_SHARE * longest)
        return load(content, shrink=shrink, **options) if shrink > 1 else image
    if source == "webp" and side > longest:
        return load(content, scale=longest / side, **options)
    return image


def read_webp_size(content: bytes) -> tuple[int, int]:
    """Width and height by the first chunk of a WebP file, of any of its three kinds; else 0."""
    kind, chunk = content[12:16], content[20:30]
    if kind == b"VP8X":
        return (
            1 + int.from_bytes(chunk[4:7], "little"),
            1 + int.from_bytes(chunk[7:10], "little"),
        )
    if kind == b"VP8L":
        bits = int.from_bytes(chunk[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return (
        int.from_bytes(chunk[6:8], "little") & 0x3FFF,
        int.from_bytes(chunk[8:10], "little") & 0x3FFF,
    )


def decode_heic(content: bytes, pixels: int) -> pyvips.Image:
    """The main picture of a HEIC file; libheif turns it upright."""
    container = pillow_heif.open_heif(content)
    if not len(container):
        raise RefusedImageError("damaged")
    picture = container[container.primary_index]
    refuse_large_image(*picture.size, pixels)
    picture.load()
    width, height = picture.size
    bands = BANDS_BY_MODE.get(picture.mode)
    if bands is None or picture.stride != width * bands:
        raise RefusedImageError("damaged")
    image = pyvips.Image.new_from_memory(picture.data, width, height, bands, "uchar")
    image = image.copy(interpretation="srgb" if bands > 2 else "b-w")
    info: dict[str, Any] = picture.info
    if profile := info.get("icc_profile"):
        image.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile)
    elif bands > 2 and info.get("nclx_profile", {}).get("color_primaries") == P3_PRIMARIES:
        image = image.icc_transform("srgb", input_profile="p3")
    return image


def refuse_large_image(width: int, height: int, pixels: int) -> None:
    """Refuse a picture by its header, before anything is decoded."""
    if width * height > pixels:
        raise RefusedImageError("pixels", width=width, height=height)


def shrink_image(image: pyvips.Image, longest: int) -> pyvips.Image:
    """The picture with its longest side at most so long, on white where it is transparent."""
    if image.hasalpha():
        image = image.flatten(background=255 if image.format == "uchar" else 65535)
    side = max(image.width, image.height)
    return image.resize(longest / side) if side > longest else image


def to_upright_srgb(image: pyvips.Image) -> pyvips.Image:
    """The picture in memory as 8-bit sRGB, turned as its EXIF says, without metadata."""
    if image.get_typeof("icc-profile-data") or image.interpretation == "cmyk":
        fallback = "cmyk" if image.interpretation == "cmyk" else "srgb"
        image = image.icc_transform("srgb", embedded=True, input_profile=fallback)
    image = image.colourspace("srgb").cast("uchar").copy_memory()
    return image.autorot().copy_memory() if image.get_typeof("orientation") else image


if __name__ == "__main__":
    main()
