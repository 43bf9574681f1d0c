"""Pictures that would cost much, written by hand from a few bytes: gigapixels of nothing, passes without end, headers that lie."""

import struct
import zlib
from functools import cache

BLOCK = 1 << 20


def chunk(kind: bytes, content: bytes) -> bytes:
    """A part of a PNG."""
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


def zeros(size: int) -> bytes:
    """So many zeros, compressed a thousand times smaller: the same million over and over, and a checksum that can be told without looking."""
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    first = squeeze.compress(bytes(BLOCK)) + squeeze.flush(zlib.Z_FULL_FLUSH)
    last = squeeze.compress(bytes(size % BLOCK)) + squeeze.flush()
    return b"\x78\x9c" + first * (size // BLOCK) + last + struct.pack(">HH", size % 65_521, 1)


def png(
    width: int, height: int, *, depth: int = 8, colour: int = 2, interlaced: bool = False
) -> bytes:
    """A black PNG. Colours: 0 grey, 2 RGB, 6 RGB and alpha."""
    bits = depth * {0: 1, 2: 3, 6: 4}[colour]
    size = height * (-(-width * bits // 8) + 1)
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    rows = zeros(
        size + size // 50 if interlaced else size
    )  # seven passes have a few more beginnings of rows
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


def jpeg(width: int, height: int) -> bytes:
    """A grey JPEG: each of its blocks is two bits, which say that nothing differs."""
    blocks = -(-width // 8) * -(-height // 8)
    return of_parts(
        width,
        height,
        0xC0,
        1,
        [scan((1,), 0, 63, 0, 0, bytes(-(-blocks * 2 // 8) + 1))],
        end_of_block=0x00,
    )


def many_scans(side: int = 7000, bits: int = 13) -> bytes:
    """A black progressive JPEG of a third of a megabyte whose coefficients come bit by bit: each of its 43 scans costs a pass over all its pixels."""
    blocks = (-(-side // 8)) ** 2
    runs = bytes(
        -(-blocks * 15 // 16_384 // 8) + 2
    )  # of 16,384 blocks without anything, 15 bits each
    scans = [scan((1, 2, 3), 0, 0, 0, 0, bytes(-(-blocks * 3 // 8)))]
    for component in (1, 2, 3):
        scans += [
            scan((component,), 1, 63, 0 if low == bits else low + 1, low, runs)
            for low in range(bits, -1, -1)
        ]
    return of_parts(side, side, 0xC2, 3, scans, end_of_block=0xE0)


def of_parts(
    width: int, height: int, frame: int, components: int, scans: list[bytes], *, end_of_block: int
) -> bytes:
    """A JPEG whose codes have one word each: no difference, and the end of a block."""
    tables = segment(0xDB, b"\0" + b"\1" * 64)
    named = b"".join(bytes((n, 0x11, 0)) for n in range(1, components + 1))
    sizes = segment(frame, struct.pack(">BHHB", 8, height, width, components) + named)
    codes = [
        segment(0xC4, bytes((kind, 1)) + bytes(15) + bytes((word,)))
        for kind, word in ((0x00, 0), (0x10, end_of_block))
    ]
    return b"\xff\xd8" + tables + sizes + b"".join(codes) + b"".join(scans) + b"\xff\xd9"


def segment(marker: int, content: bytes) -> bytes:
    """A part of a JPEG."""
    return bytes((0xFF, marker)) + struct.pack(">H", len(content) + 2) + content


def scan(
    components: tuple[int, ...], first: int, last: int, high: int, low: int, data: bytes
) -> bytes:
    """A pass over components of a JPEG: which coefficients, and which of their bits."""
    named = b"".join(bytes((n, 0)) for n in components)
    return (
        segment(0xDA, bytes((len(components),)) + named + bytes((first, last, high << 4 | low)))
        + data
    )


def webp(width: int, height: int) -> bytes:
    """A lossless WebP of one colour. Its codes have one word each, so a pixel takes no bits: 60 bytes are up to 268 megapixels."""
    said = [(0x2F, 8), (width - 1, 14), (height - 1, 14), (0, 1), (0, 3), (0, 1), (0, 1), (0, 1)]
    said += [
        part for _ in range(5) for part in ((1, 1), (0, 1), (0, 1), (0, 1))
    ]  # a simple code, one word, of one bit: 0
    number = at = 0
    for value, bits in said:
        number, at = number | value << at, at + bits
    content = number.to_bytes(32, "little")
    return (
        b"RIFF"
        + struct.pack("<I", len(content) + 12)
        + b"WEBPVP8L"
        + struct.pack("<I", len(content))
        + content
    )


@cache
def heavy() -> dict[str, bytes]:
    """What they are, by name."""
    return {
        "PNG, 900 MP in 110 kB": png(30_000, 30_000, depth=1, colour=0),
        "PNG, 100 MP": png(10_000, 10_000),
        "JPEG, 100 MP": jpeg(10_000, 10_000),
        "JPEG, 4,290 MP by its header": jpeg(800, 600).replace(
            struct.pack(">HH", 600, 800), struct.pack(">HH", 65_500, 65_500)
        ),
        "JPEG, 65,500 × 700": jpeg(65_500, 700),
        "JPEG, 49 MP": jpeg(7000, 7000),
        "JPEG, 49 MP in 43 passes": many_scans(),
        "WebP, 268 MP in 60 bytes": webp(16_383, 16_383),
        "WebP, 100 MP": webp(10_000, 10_000),
        "WebP, 49 MP": webp(7000, 7000),
        "PNG, 49 MP": png(7000, 7000),
        "PNG, 49 MP, interlaced": png(7000, 7000, interlaced=True),
        "PNG, 48 MP of 16 bits and alpha": png(6900, 6900, depth=16, colour=6),
        "PNG, 48 MP of 16 bits and alpha, interlaced": png(
            6900, 6900, depth=16, colour=6, interlaced=True
        ),
        "PNG, one row of 49 MP": png(49_000_000, 1, colour=0),
        "PNG, one column of 1 MP": png(1, 1_000_000, colour=0),
    }
