"""What the child process of a decoder does: untrusted bytes in; upright sRGB JPEGs without metadata, in several sizes, out.

Run as a script, apart from the package, so that it starts at once and holds nothing worth stealing; it knows nothing of Tanuki, and whatever happens to it happens to one picture.
A job is a line of JSON and the picture's bytes on the standard input; its answer is a line of JSON and the files' bytes on the standard output. At the input's end the process ends.
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

NEARLY = 0.9  # a JPEG can be decoded at 1/2, 1/4 or 1/8 for a fraction of the work; a tenth smaller than the largest size is taken for it
LOADERS = {
    "jpeg": "VipsForeignLoadJpegBuffer",
    "png": "VipsForeignLoadPngBuffer",
    "webp": "VipsForeignLoadWebpBuffer",
}
NO_MEMORY = ("out of memory", "memory allocation", "bad_alloc")  # how the libraries say it
LYING = "security limit exceeded"  # libheif of headers that announce what cannot be; it calls this a lack of memory too
NICE = 5  # when the processor is busy, who reads a page does not wait for somebody's picture
P3_PRIMARIES = 12  # what HEIC calls Display P3 where it has no profile


class Refused(ValueError):
    """The picture is not read, for a reason that the parent has a sentence for."""

    def __init__(self, why: str, **values: int) -> None:
        super().__init__(why)
        self.answer = {"refused": why, **values}


def main() -> None:
    """Say that we are ready, then do one job after the other. The argument is how many bytes of memory we may take."""
    restrict(int(sys.argv[1]))
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    answers.write(b"\n")
    answers.flush()
    while line := requests.readline():
        job = json.loads(line)
        content = requests.read(job["bytes"])
        hurry(job["cpu_s"], job["wall_s"])
        answer, files = answered(content, job)
        hurry(0, 0)
        del content
        answers.write(json.dumps({**answer, "peak_mb": peak_mb()}).encode() + b"\n")
        answers.writelines(files)
        answers.flush()


def restrict(memory: int) -> None:
    """Take away what decoding does not need: memory beyond the limit, files, core dumps, and every other format that libvips reads. Pages go first."""
    os.nice(NICE)
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))
    pyvips.operation_block_set("VipsForeignLoad", True)
    for loader in LOADERS.values():
        pyvips.operation_block_set(loader, False)
    pyvips.cache_set_max(0)
    pillow_heif.options.DECODE_THREADS = 1  # there are as many of us as cores
    pillow_heif.options.THUMBNAILS = False


def hurry(cpu_s: float, wall_s: float) -> None:
    """End this process when it has computed, or lived, for so long from now: not even code that never comes back can prevent it."""
    signal.setitimer(signal.ITIMER_PROF, cpu_s)
    signal.setitimer(signal.ITIMER_REAL, wall_s)


def peak_mb() -> int:
    """The most memory this process has ever had. What the system calls its maximum begins with its parent's, so that is not asked where there is better."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().partition("VmHWM:")[2].split()[0]) // 1024
    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) // 1024


def answered(content: bytes, job: dict[str, Any]) -> tuple[dict[str, Any], list[bytes]]:
    """The answer to a job and the files that follow it; what cannot be read has an answer too."""
    try:
        return cleaned(content, job)
    except Refused as refusal:
        return refusal.answer, []
    except MemoryError:
        return {"refused": "memory"}, []
    except (
        pyvips.Error,
        ValueError,
        RuntimeError,
        EOFError,
        SyntaxError,
        OSError,
    ) as error:  # the last five are what pillow-heif raises
        said = str(error).lower()
        return {
            "refused": "memory"
            if any(words in said for words in NO_MEMORY) and LYING not in said
            else "damaged"
        }, []


def cleaned(content: bytes, job: dict[str, Any]) -> tuple[dict[str, Any], list[bytes]]:
    """The picture in every size, the largest decoded once and each other one made from the one before it.

    Codes fitted to the picture save 4 % of the bytes for two thirds more time; progressive files would save another 3 %, and take twice the time to write and half as much again to read.
    """
    longest = max(job["sizes"].values())
    image = decoded(content, job["source"], longest, job["pixels"])
    image = upright_srgb(fitted(image, longest))
    width, height, files, file = image.width, image.height, {}, b""
    for name, size in sorted(job["sizes"].items(), key=lambda item: -item[1]):
        if max(image.width, image.height) > size:
            image, file = fitted(image, size).copy_memory(), b""
        file = file or image.jpegsave_buffer(Q=job["quality"], keep="none", optimize_coding=True)
        files[name] = file
    answer = {
        "width": width,
        "height": height,
        "colour": mean(image),
        "files": {name: len(file) for name, file in files.items()},
    }
    return answer, list(files.values())


def mean(image: Any) -> str:
    """The mean colour, #rrggbb."""
    table = image.stats()  # a line for all bands, then one for each; the fifth column is the mean
    return "#" + "".join(f"{round(table(4, band)[0]):02x}" for band in (1, 2, 3))


def decoded(content: bytes, source: str, longest: int, pixels: int) -> Any:
    """The picture, only as large as it has to be where its format allows that; read from top to bottom when it is used."""
    if source == "heic":
        return of_heic(content, pixels)
    if source == "webp":
        few_enough(
            *announced_by_webp(content), pixels
        )  # opening it takes memory for all of them already
    load = getattr(pyvips.Image, f"{source}load_buffer")
    how: dict[str, Any] = {"access": "sequential", "fail_on": "truncated"}
    image = load(content, **how)
    few_enough(image.width, image.height, pixels)
    side = max(image.width, image.height)
    if source == "jpeg":
        shrink = max(n for n in (1, 2, 4, 8) if n == 1 or side / n >= NEARLY * longest)
        return load(content, shrink=shrink, **how) if shrink > 1 else image
    if source == "webp" and side > longest:
        return load(content, scale=longest / side, **how)
    return image


def announced_by_webp(content: bytes) -> tuple[int, int]:
    """Width and height by the first chunk of a WebP file, of whichever of its three kinds; 0 for none."""
    kind, said = content[12:16], content[20:30]
    if kind == b"VP8X":
        return 1 + int.from_bytes(said[4:7], "little"), 1 + int.from_bytes(said[7:10], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(said[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return int.from_bytes(said[6:8], "little") & 0x3FFF, int.from_bytes(
        said[8:10], "little"
    ) & 0x3FFF


def of_heic(content: bytes, pixels: int) -> Any:
    """The main picture of a HEIC file; libheif itself turns it upright."""
    found = pillow_heif.open_heif(content)
    if not len(found):
        raise Refused("damaged")
    picture = found[found.primary_index]
    few_enough(*picture.size, pixels)
    picture.load()
    width, height = picture.size
    bands = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4}.get(picture.mode)
    if bands is None or picture.stride != width * bands:
        raise Refused("damaged")
    image = pyvips.Image.new_from_memory(picture.data, width, height, bands, "uchar")
    image = image.copy(interpretation="srgb" if bands > 2 else "b-w")
    info: dict[str, Any] = picture.info
    if profile := info.get("icc_profile"):
        image.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile)
    elif bands > 2 and info.get("nclx_profile", {}).get("color_primaries") == P3_PRIMARIES:
        image = image.icc_transform("srgb", input_profile="p3")
    return image


def few_enough(width: int, height: int, pixels: int) -> None:
    """Refuse what its header says is too large, before anything is decoded."""
    if width * height > pixels:
        raise Refused("pixels", width=width, height=height)


def fitted(image: Any, longest: int) -> Any:
    """The picture with its longest side at most so long, on white where it is transparent."""
    if image.hasalpha():
        image = image.flatten(background=255 if image.format == "uchar" else 65535)
    side = max(image.width, image.height)
    return image.resize(longest / side) if side > longest else image


def upright_srgb(image: Any) -> Any:
    """The picture in memory as 8-bit sRGB, the way up that its EXIF says, with nothing attached."""
    if image.get_typeof("icc-profile-data") or image.interpretation == "cmyk":
        fallback = "cmyk" if image.interpretation == "cmyk" else "srgb"
        image = image.icc_transform("srgb", embedded=True, input_profile=fallback)
    image = image.colourspace("srgb").cast("uchar").copy_memory()
    return image.autorot().copy_memory() if image.get_typeof("orientation") else image


if __name__ == "__main__":
    main()
