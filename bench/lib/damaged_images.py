"""Test pictures from a seed: photos in every format, and damaged, forged or foreign files.

The tests of the decoder and `bench.animals_images` use the same files.
"""

import io
import random
import struct
import zipfile
from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
import pillow_heif
import pyvips
from PIL import Image, ImageDraw
from PIL.PngImagePlugin import PngInfo

from bench.lib.decompression_bombs import build_png_chunk

FORMATS = ("jpeg", "png", "webp", "heic")
SECRET = b"Loc35.6895N139.6917E"  # in all metadata; must not be in a cleaned file
EXIF_ORIENTATION, EXIF_MAKE, EXIF_GPS = 0x0112, 0x010F, 0x8825
# Colours top left, top right, bottom right, bottom left.
CORNERS = (
    (220, 40, 30),
    (40, 180, 60),
    (50, 60, 210),
    (230, 220, 70),
)


def draw_photo(seed: int, width: int, height: int) -> Image.Image:
    """A picture with a photo's structure: soft light, shapes with edges, a sensor's noise."""
    chance = np.random.default_rng(seed)
    light = chance.integers(30, 226, (4, 5, 3), dtype=np.uint8)
    image = Image.fromarray(light).resize((width, height), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    for x, y, size, *colour in chance.integers(0, 256, (24, 6)).tolist():
        left, top, wide = x * width // 256, y * height // 256, 1 + size * min(width, height) // 1024
        draw.ellipse((left, top, left + 2 * wide, top + wide), fill=tuple(colour))
    noise = chance.integers(-6, 7, (height, width, 1), dtype=np.int16)
    return Image.fromarray((np.asarray(image) + noise).clip(0, 255).astype(np.uint8))


def draw_corners(width: int = 120, height: int = 80) -> Image.Image:
    """A picture whose quarters have the colours CORNERS, so that a test can see its orientation."""
    image = Image.new("RGB", (width, height))
    for colour, (x, y) in zip(CORNERS, ((0, 0), (1, 0), (1, 1), (0, 1)), strict=True):
        image.paste(
            colour, (x * width // 2, y * height // 2, (x + 1) * width // 2, (y + 1) * height // 2)
        )
    return image


def turn_for_orientation(image: Image.Image, orientation: int) -> Image.Image:
    """A picture as a camera stores it: the EXIF orientation turns it upright again."""
    transposes = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    return image.transpose(transposes[orientation]) if orientation in transposes else image


def encode_image(image: Image.Image, source: str, **options: object) -> bytes:
    """A file in one of the FORMATS, or in another format that Pillow writes."""
    out = io.BytesIO()
    if source == "heic":
        pillow_heif.from_pillow(image).save(out, **{"quality": 60, **options})
    else:
        defaults = {"quality": 88} if source in ("jpeg", "webp") else {}
        image.save(out, source.upper(), **{**defaults, **options})
    return out.getvalue()


def build_exif(orientation: int = 1) -> bytes:
    """EXIF with an orientation, coordinates and a camera's maker."""
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    exif[EXIF_MAKE] = SECRET.decode()
    exif[EXIF_GPS] = {
        1: "N",
        2: (35.0, 41.0, 22.2),
        3: "E",
        4: (139.0, 41.0, 30.12),
        29: SECRET.decode(),
    }
    return exif.tobytes()


def encode_with_metadata(source: str, orientation: int = 1) -> bytes:
    """A picture with SECRET in each kind of metadata that its format has."""
    image = turn_for_orientation(draw_corners(), orientation)
    xmp = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><place>" + SECRET + b"</place></x:xmpmeta>"
    options: dict[str, object] = {
        "exif": build_exif(orientation),
        "icc_profile": load_profile("srgb"),
    }
    if source == "jpeg":
        options |= {"subsampling": 0, "comment": SECRET, "dpi": (300, 300)}
    if source == "png":
        texts = PngInfo()
        texts.add_text("Comment", SECRET.decode())
        return encode_image(image, source, pnginfo=texts, **options)
    return encode_image(image, source, quality=95, xmp=xmp, **options)


@cache
def load_profile(name: str) -> bytes:
    """A colour profile of libvips: srgb, p3 or cmyk."""
    return bytes(pyvips.Image.profile_load(name))


def find_frame_header(content: bytes) -> int:
    """Position of the marker of a JPEG's frame header, which has the dimensions."""
    position = 2
    while content[position + 1] not in (0xC0, 0xC1, 0xC2):
        position += 2 + int.from_bytes(content[position + 2 : position + 4], "big")
    return position


def forge_size(content: bytes, source: str, width: int, height: int) -> bytes:
    """The file with other dimensions in its header than its content has."""
    if source == "png":
        header = struct.pack(">II", width, height) + content[24:29]
        return content[:8] + build_png_chunk(b"IHDR", header) + content[33:]
    if source == "jpeg":
        position = find_frame_header(content) + 5
        size = struct.pack(">HH", height & 0xFFFF, width & 0xFFFF)
    elif source == "webp":
        position = content.find(b"VP8 ") + 14
        size = struct.pack("<HH", min(width, 16383), min(height, 16383))
    else:
        position = content.find(b"ispe") + 8
        size = struct.pack(">II", width, height)
    return content[:position] + size + content[position + len(size) :]


# ---- damages -------------------------------------------------------------------------------------

Damage = Callable[[random.Random, bytes, str], bytes]
"""Of the chance, a file and its format: the damaged file."""


def truncate(chance: random.Random, content: bytes, _: str) -> bytes:
    return content[: chance.randrange(1, len(content))]


def flip_bits(chance: random.Random, content: bytes, _: str) -> bytes:
    damaged = bytearray(content)
    for _bit in range(chance.choice((1, 1, 2, 8, 64))):
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
    return bytes(damaged)


def overwrite_header(chance: random.Random, content: bytes, _: str) -> bytes:
    damaged = bytearray(content)
    for _byte in range(chance.choice((1, 2, 6))):
        damaged[chance.randrange(min(len(damaged), 400))] = chance.randrange(256)
    return bytes(damaged)


def remove_bytes(chance: random.Random, content: bytes, _: str) -> bytes:
    start = chance.randrange(len(content))
    return content[:start] + content[start + chance.randrange(1, 200) :]


def blank_bytes(chance: random.Random, content: bytes, _: str) -> bytes:
    start, length = chance.randrange(len(content)), chance.randrange(1, 500)
    blank = bytes([chance.choice((0, 255))]) * length
    return (content[:start] + blank + content[start + length :])[: len(content)]


def forge_random_size(chance: random.Random, content: bytes, source: str) -> bytes:
    sides = (0, 1, 90, 7_000, 16_383, 65_500, 100_000, 0x7FFFFFFF, 0xFFFFFFFF)
    return forge_size(content, source, chance.choice(sides), chance.choice(sides))


def append_zip(chance: random.Random, content: bytes, _: str) -> bytes:
    out = io.BytesIO(content)
    with zipfile.ZipFile(out, "a") as archive:
        archive.writestr("hello.txt", b"hello" * chance.randrange(1, 50))
    return out.getvalue()


def prepend_signature(chance: random.Random, content: bytes, _: str) -> bytes:
    """The picture behind another format's first bytes."""
    signatures = (
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
    return chance.choice(signatures) + content + b"*/=1;alert(1)//</script>"


def insert_script(chance: random.Random, content: bytes, source: str) -> bytes:
    script = b"<script>alert(1)</script><?php system('id'); ?>" * chance.randrange(1, 9)
    if source == "jpeg":
        return content[:2] + b"\xff\xfe" + struct.pack(">H", len(script) + 2) + script + content[2:]
    return content + script


def splice_files(chance: random.Random, content: bytes, source: str) -> bytes:
    other = choose_sample(chance, chance.choice(FORMATS))
    return content[: chance.randrange(12, len(content))] + other[chance.randrange(len(other)) :]


def swap_header(chance: random.Random, content: bytes, source: str) -> bytes:
    other = choose_sample(chance, chance.choice([name for name in FORMATS if name != source]))
    return other[:12] + content[12:]


DAMAGES: tuple[Damage, ...] = (
    *(truncate, flip_bits, overwrite_header, remove_bytes, blank_bytes, forge_random_size),
    *(append_zip, prepend_signature, insert_script, splice_files, swap_header),
)


# ---- files ---------------------------------------------------------------------------------------


@cache
def encode_samples(source: str) -> list[bytes]:
    """A few small valid files of a format, in its variants."""
    image = draw_photo(7, 90, 60)
    if source == "jpeg":
        variants: list[dict[str, object]] = [
            {},
            {"progressive": True},
            {"subsampling": 0, "quality": 97},
            {"restart_marker_rows": 1},
            {"exif": build_exif(6)},
        ]
        return [encode_image(image, "jpeg", **options) for options in variants] + [
            encode_image(image.convert(mode), "jpeg") for mode in ("CMYK", "L")
        ]
    if source == "png":
        return [
            encode_image(image.convert(mode), "png")
            for mode in ("RGB", "RGBA", "L", "LA", "P", "1", "I;16")
        ]
    if source == "webp":
        still = [
            encode_image(image.convert(mode), "webp", lossless=lossless)
            for mode in ("RGB", "RGBA")
            for lossless in (False, True)
        ]
        return [*still, encode_image(image, "webp", exif=build_exif(5)), encode_animation("webp")]
    return [encode_image(image.convert(mode), "heic") for mode in ("RGB", "RGBA", "L")]


def encode_animation(source: str) -> bytes:
    """Three frames; the first is `draw_corners()`."""
    options: dict[str, object] = {"lossless": True} if source == "webp" else {}
    frames = [draw_photo(seed, 120, 80) for seed in (1, 2)]
    return encode_image(
        draw_corners(), source, save_all=True, append_images=frames, duration=100, **options
    )


def choose_sample(chance: random.Random, source: str) -> bytes:
    return chance.choice(encode_samples(source))


@cache
def build_unusual_images() -> dict[str, bytes]:
    """Valid pictures of kinds that are rare, by name."""
    tiny = {
        f"{source} of one pixel": encode_image(Image.new("RGB", (1, 1), (9, 200, 90)), source)
        for source in ("jpeg", "png", "webp")
    }
    orientations = {
        f"JPEG turned, orientation {n}": encode_image(
            turn_for_orientation(draw_corners(), n), "jpeg", exif=build_exif(n)
        )
        for n in range(1, 9)
    }
    modes = {
        f"PNG, {mode}": encode_image(draw_photo(3, 90, 60).convert(mode), "png")
        for mode in ("P", "L", "LA", "RGBA", "1", "I;16")
    }
    return {
        **tiny,
        **orientations,
        **modes,
        "HEIC of few pixels": encode_image(draw_photo(2, 16, 16), "heic"),
        "JPEG in CMYK": encode_image(draw_photo(4, 90, 60).convert("CMYK"), "jpeg"),
        "WebP with frames": encode_animation("webp"),
        "PNG with frames": encode_animation("png"),
        "PNG of one column": encode_image(Image.new("RGB", (1, 5000), (1, 2, 3)), "png"),
    }


@cache
def build_foreign_files() -> dict[str, bytes]:
    """Files that are no picture, or of a format that is not accepted, by name."""
    return {
        "empty file": b"",
        "one byte": b"\xff",
        "GIF": encode_image(draw_photo(1, 40, 30), "gif"),
        "BMP": encode_image(draw_photo(1, 40, 30), "bmp"),
        "TIFF": encode_image(draw_photo(1, 40, 30), "tiff"),
        "SVG": (
            b"<?xml version='1.0'?><!-- a --><svg xmlns='http://www.w3.org/2000/svg'>"
            b"<script>alert(1)</script></svg>"
        ),
        "HTML": b"\n <!doctype HTML><html><img src=x onerror=alert(1)></html>",
        "PDF": b"%PDF-1.7\n%%EOF",
        "AVIF": b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf" + bytes(100),
        "MP4": b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + bytes(100),
        "text": "柴犬の写真".encode(),
    }


def generate_damaged_files(count: int, seed: int = 1) -> Iterator[tuple[str, bytes]]:
    """Files with a name each, always the same for a seed: most damaged, some unusual or foreign."""
    chance = random.Random(seed)
    undamaged = [*build_unusual_images().items(), *build_foreign_files().items()]
    for number in range(count):
        if number % 6 == 5:
            yield undamaged[number // 6 % len(undamaged)]
            continue
        source, damage = FORMATS[number % 4], DAMAGES[number // 4 % len(DAMAGES)]
        content = damage(chance, choose_sample(chance, source), source)
        if chance.random() < 0.2 and len(content) > 1:
            second = chance.choice((truncate, flip_bits, blank_bytes))
            content = second(chance, content, source)
        yield f"{source} {damage.__name__}", content
