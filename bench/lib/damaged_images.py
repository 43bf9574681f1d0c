"""Pictures for tests and for bench/animals_images.py, made by code from a seed: photos in every format, and files that somebody broke, bent or forged."""

import io
import random
import struct
from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
import pillow_heif
import pyvips
from PIL import Image, ImageDraw

from bench.lib.decompression_bombs import chunk

FORMATS = ("jpeg", "png", "webp", "heic")
SECRET = b"Loc35.6895N139.6917E"  # stands in all metadata that must not get through
ORIENTATION, MAKER, GPS = 0x0112, 0x010F, 0x8825
CORNERS = (
    (220, 40, 30),
    (40, 180, 60),
    (50, 60, 210),
    (230, 220, 70),
)  # top left, top right, bottom right, bottom left


def photo(seed: int, width: int, height: int) -> Image.Image:
    """Something with the structure of a photo: soft light, shapes with edges, the noise of a sensor."""
    chance = np.random.default_rng(seed)
    light = chance.integers(30, 226, (4, 5, 3), dtype=np.uint8)
    image = Image.fromarray(light).resize((width, height), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    for x, y, size, *colour in chance.integers(0, 256, (24, 6)).tolist():
        left, top, wide = x * width // 256, y * height // 256, 1 + size * min(width, height) // 1024
        draw.ellipse((left, top, left + 2 * wide, top + wide), fill=tuple(colour))
    noise = chance.integers(-6, 7, (height, width, 1), dtype=np.int16)
    return Image.fromarray((np.asarray(image) + noise).clip(0, 255).astype(np.uint8))


def corners(width: int = 120, height: int = 80) -> Image.Image:
    """A picture whose four quarters have CORNERS' colours, so that its way up can be seen."""
    image = Image.new("RGB", (width, height))
    for colour, (x, y) in zip(CORNERS, ((0, 0), (1, 0), (1, 1), (0, 1)), strict=True):
        image.paste(
            colour, (x * width // 2, y * height // 2, (x + 1) * width // 2, (y + 1) * height // 2)
        )
    return image


def turned(image: Image.Image, orientation: int) -> Image.Image:
    """How a camera would store a picture so that this EXIF orientation brings it upright."""
    way = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    return image.transpose(way[orientation]) if orientation in way else image


def encoded(image: Image.Image, source: str, **how: object) -> bytes:
    """A picture as a file of one of the FORMATS, or of another that Pillow writes."""
    out = io.BytesIO()
    if source == "heic":
        pillow_heif.from_pillow(image).save(out, **{"quality": 60, **how})
    else:
        image.save(
            out, source.upper(), **({"quality": 88} | how if source in ("jpeg", "webp") else how)
        )
    return out.getvalue()


def exif(orientation: int = 1) -> bytes:
    """EXIF with an orientation, a place on earth and a camera's maker."""
    made = Image.Exif()
    made[ORIENTATION] = orientation
    made[MAKER] = SECRET.decode()
    made[GPS] = {
        1: "N",
        2: (35.0, 41.0, 22.2),
        3: "E",
        4: (139.0, 41.0, 30.12),
        29: SECRET.decode(),
    }
    return made.tobytes()


def telling(source: str, orientation: int = 1) -> bytes:
    """A photo that says where it was taken in every place its format has for that."""
    image = turned(corners(), orientation)
    xmp = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><place>" + SECRET + b"</place></x:xmpmeta>"
    how: dict[str, object] = {"exif": exif(orientation), "icc_profile": profile("srgb")}
    if source == "jpeg":
        return encoded(
            image, source, quality=95, subsampling=0, xmp=xmp, comment=SECRET, dpi=(300, 300), **how
        )
    if source == "png":
        from PIL.PngImagePlugin import PngInfo

        words = PngInfo()
        words.add_text("Comment", SECRET.decode())
        return encoded(image, source, pnginfo=words, **how)
    return encoded(image, source, quality=95, xmp=xmp, **how)


@cache
def profile(name: str) -> bytes:
    """A colour profile that libvips carries: srgb, p3 or cmyk."""
    return bytes(pyvips.Image.profile_load(name))


def frames(content: bytes) -> int:
    """Where the dimensions stand in a JPEG: the position of its frame header's marker."""
    at = 2
    while content[at + 1] not in (0xC0, 0xC1, 0xC2):
        at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    return at


def lying(content: bytes, source: str, width: int, height: int) -> bytes:
    """A file whose header says other dimensions than its content has."""
    if source == "jpeg":
        at = frames(content)
        return (
            content[: at + 5]
            + struct.pack(">HH", height & 0xFFFF, width & 0xFFFF)
            + content[at + 9 :]
        )
    if source == "png":
        header = struct.pack(">II", width, height) + content[24:29]
        return content[:8] + chunk(b"IHDR", header) + content[33:]
    if source == "webp":
        at = content.find(b"VP8 ") + 14
        return (
            content[:at]
            + struct.pack("<HH", min(width, 16383), min(height, 16383))
            + content[at + 4 :]
        )
    at = content.find(b"ispe") + 8
    return content[:at] + struct.pack(">II", width, height) + content[at + 8 :]


# ---- two thousand of them ------------------------------------------------------------------------------------------

Bend = Callable[[random.Random, bytes, str], bytes]


def truncated(chance: random.Random, content: bytes, _: str) -> bytes:
    return content[: chance.randrange(1, len(content))]


def flipped(chance: random.Random, content: bytes, _: str) -> bytes:
    made = bytearray(content)
    for _n in range(chance.choice((1, 1, 2, 8, 64))):
        made[chance.randrange(len(made))] ^= 1 << chance.randrange(8)
    return bytes(made)


def flipped_early(chance: random.Random, content: bytes, _: str) -> bytes:
    made = bytearray(content)
    for _n in range(chance.choice((1, 2, 6))):
        made[chance.randrange(min(len(made), 400))] = chance.randrange(256)
    return bytes(made)


def holed(chance: random.Random, content: bytes, _: str) -> bytes:
    start = chance.randrange(len(content))
    return content[:start] + content[start + chance.randrange(1, 200) :]


def blanked(chance: random.Random, content: bytes, _: str) -> bytes:
    start, length = chance.randrange(len(content)), chance.randrange(1, 500)
    return (
        content[:start] + bytes([chance.choice((0, 255))]) * length + content[start + length :]
    )[: len(content)]


def liar(chance: random.Random, content: bytes, source: str) -> bytes:
    sides = (0, 1, 90, 7_000, 16_383, 65_500, 100_000, 0x7FFFFFFF, 0xFFFFFFFF)
    return lying(content, source, chance.choice(sides), chance.choice(sides))


def with_zip(chance: random.Random, content: bytes, _: str) -> bytes:
    import zipfile

    out = io.BytesIO(content)
    with zipfile.ZipFile(out, "a") as archive:
        archive.writestr("hello.txt", b"hello" * chance.randrange(1, 50))
    return out.getvalue()


def behind_another(chance: random.Random, content: bytes, _: str) -> bytes:
    starts = (
        b"GIF89a/*",
        b"<svg>",
        b"%PDF-1.7\n",
        b"<!DOCTYPE html>",
        b"PK\x03\x04",
        b"BM",
        b"\0\0\0\x1cftypavif",
        b"#!/bin/sh\n",
        b"\r\n",
    )
    return chance.choice(starts) + content + b"*/=1;alert(1)//</script>"


def with_script(chance: random.Random, content: bytes, source: str) -> bytes:
    script = b"<script>alert(1)</script><?php system('id'); ?>" * chance.randrange(1, 9)
    if source == "jpeg":
        return content[:2] + b"\xff\xfe" + struct.pack(">H", len(script) + 2) + script + content[2:]
    return content + script


def spliced(chance: random.Random, content: bytes, source: str) -> bytes:
    other = base(chance, chance.choice(FORMATS))
    return content[: chance.randrange(12, len(content))] + other[chance.randrange(len(other)) :]


def swapped(chance: random.Random, content: bytes, source: str) -> bytes:
    other = base(chance, chance.choice([each for each in FORMATS if each != source]))
    return other[:12] + content[12:]


BENDS: tuple[Bend, ...] = (
    truncated, flipped, flipped_early, holed, blanked, liar, with_zip, behind_another, with_script, spliced, swapped,
)  # fmt: skip


@cache
def bases(source: str) -> list[bytes]:
    """A few small honest files of a format, in its several kinds."""
    image = photo(7, 90, 60)
    if source == "jpeg":
        kinds = [
            {},
            {"progressive": True},
            {"subsampling": 0, "quality": 97},
            {"restart_marker_rows": 1},
            {"exif": exif(6)},
        ]
        return [encoded(image, "jpeg", **how) for how in kinds] + [
            encoded(image.convert(mode), "jpeg") for mode in ("CMYK", "L")
        ]
    if source == "png":
        return [
            encoded(image.convert(mode), "png")
            for mode in ("RGB", "RGBA", "L", "LA", "P", "1", "I;16")
        ]
    if source == "webp":
        still = [
            encoded(image.convert(mode), "webp", lossless=lossless)
            for mode in ("RGB", "RGBA")
            for lossless in (False, True)
        ]
        return [*still, encoded(image, "webp", exif=exif(5)), animated("webp")]
    return [encoded(image.convert(mode), "heic") for mode in ("RGB", "RGBA", "L")]


def animated(source: str) -> bytes:
    """Three frames, the first of which is CORNERS."""
    others = [photo(n, 120, 80) for n in (1, 2)]
    return encoded(
        corners(),
        source,
        save_all=True,
        append_images=others,
        duration=100,
        **({"lossless": True} if source == "webp" else {}),
    )


def base(chance: random.Random, source: str) -> bytes:
    return chance.choice(bases(source))


@cache
def honest() -> dict[str, bytes]:
    """Uncommon files that are pictures nevertheless."""
    tiny = {
        f"{source} of one pixel": encoded(Image.new("RGB", (1, 1), (9, 200, 90)), source)
        for source in ("jpeg", "png", "webp")
    }
    ways = {
        f"JPEG turned, orientation {n}": encoded(turned(corners(), n), "jpeg", exif=exif(n))
        for n in range(1, 9)
    }
    modes = {
        f"PNG, {mode}": encoded(photo(3, 90, 60).convert(mode), "png")
        for mode in ("P", "L", "LA", "RGBA", "1", "I;16")
    }
    return {
        **tiny,
        **ways,
        **modes,
        "HEIC of few pixels": encoded(photo(2, 16, 16), "heic"),
        "JPEG in CMYK": encoded(photo(4, 90, 60).convert("CMYK"), "jpeg"),
        "WebP with frames": animated("webp"),
        "PNG with frames": animated("png"),
        "PNG of one column": encoded(Image.new("RGB", (1, 5000), (1, 2, 3)), "png"),
    }


@cache
def strangers() -> dict[str, bytes]:
    """What is not a picture of ours at all."""
    return {
        "nothing": b"",
        "a byte": b"\xff",
        "GIF": encoded(photo(1, 40, 30), "gif"),
        "BMP": encoded(photo(1, 40, 30), "bmp"),
        "TIFF": encoded(photo(1, 40, 30), "tiff"),
        "SVG": b"<?xml version='1.0'?><!-- a --><svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        "HTML": b"\n <!doctype HTML><html><img src=x onerror=alert(1)></html>",
        "PDF": b"%PDF-1.7\n%%EOF",
        "AVIF": b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf" + bytes(100),
        "a film": b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + bytes(100),
        "words": "柴犬の写真".encode(),
    }


def mutated(count: int, seed: int = 1) -> Iterator[tuple[str, bytes]]:
    """So many files with what was done to them, the same for the same seed: bent ones, and among them uncommon and strange ones."""
    chance = random.Random(seed)
    rare = [*honest().items(), *strangers().items()]
    for n in range(count):
        if n % 6 == 5:
            yield rare[n // 6 % len(rare)]
            continue
        source, bend = FORMATS[n % 4], BENDS[n // 4 % len(BENDS)]
        content = bend(chance, base(chance, source), source)
        if chance.random() < 0.2 and len(content) > 1:
            second = chance.choice((truncated, flipped, blanked))
            content = second(chance, content, source)
        yield f"{source} {bend.__name__}", content
