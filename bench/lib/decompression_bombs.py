"""Decompression bombs: small image files that need much memory or time to decode.

They are written byte by byte: gigapixels of one colour, many passes, headers with false sizes.
"""

import struct
import zlib
from functools import cache

ZERO_BLOCK_BYTES = 1 << 20


def build_png_chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def compress_zeros(size: int) -> bytes:
    """So many zeros as a zlib stream, a thousand times smaller.

    One compressed mebibyte is repeated. The Adler-32 checksum of zeros
    depends on their number only.
    """
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    first = compressor.compress(bytes(ZERO_BLOCK_BYTES)) + compressor.flush(zlib.Z_FULL_FLUSH)
    last = compressor.compress(bytes(size % ZERO_BLOCK_BYTES)) + compressor.flush()
    checksum = struct.pack(">HH", size % 65_521, 1)
    return b"\x78\x9c" + first * (size // ZERO_BLOCK_BYTES) + last + checksum


def build_png(
    width: int, height: int, *, depth: int = 8, colour: int = 2, interlaced: bool = False
) -> bytes:
    """A black PNG. Colours: 0 grey, 2 RGB, 6 RGB and alpha."""
    bits = depth * {0: 1, 2: 3, 6: 4}[colour]
    size = height * (-(-width * bits // 8) + 1)
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    # The seven passes of an interlaced PNG begin a few more rows.
    rows = compress_zeros(size + size // 50 if interlaced else size)
    parts = ((b"IHDR", header), (b"IDAT", rows), (b"IEND", b""))
    chunks = [build_png_chunk(kind, content) for kind, content in parts]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def build_jpeg(width: int, height: int) -> bytes:
    """A grey JPEG: each of its blocks is two bits, "no difference" and "end of block"."""
    blocks = -(-width // 8) * -(-height // 8)
    scan = build_jpeg_scan((1,), (0, 63), (0, 0), bytes(-(-blocks * 2 // 8) + 1))
    return join_jpeg(build_jpeg_tables(width, height, 0xC0, 1, end_of_block=0x00), [scan])


def build_many_scans(side: int = 7000, bits: int = 13) -> bytes:
    """A black progressive JPEG of a third of a megabyte, with 43 scans at 13 bits.

    Its coefficients come bit by bit, and each scan costs a pass over all pixels.
    """
    blocks = (-(-side // 8)) ** 2
    # A run of 16,384 empty blocks takes 15 bits.
    runs = bytes(-(-blocks * 15 // 16_384 // 8) + 2)
    scans = [build_jpeg_scan((1, 2, 3), (0, 0), (0, 0), bytes(-(-blocks * 3 // 8)))]
    for component in (1, 2, 3):
        scans += [
            build_jpeg_scan((component,), (1, 63), (0 if low == bits else low + 1, low), runs)
            for low in range(bits, -1, -1)
        ]
    return join_jpeg(build_jpeg_tables(side, side, 0xC2, 3, end_of_block=0xE0), scans)


def join_jpeg(tables: bytes, scans: list[bytes]) -> bytes:
    return b"\xff\xd8" + tables + b"".join(scans) + b"\xff\xd9"


def build_jpeg_tables(
    width: int, height: int, frame: int, components: int, *, end_of_block: int
) -> bytes:
    """Quantisation, frame header and Huffman tables of one code each: no difference, end of block.

    frame: the marker of the frame header, 0xC0 (baseline) or 0xC2 (progressive).
    """
    quantisation = build_jpeg_segment(0xDB, b"\0" + b"\1" * 64)
    components_info = b"".join(bytes((n, 0x11, 0)) for n in range(1, components + 1))
    header = struct.pack(">BHHB", 8, height, width, components) + components_info
    codes = [
        build_jpeg_segment(0xC4, bytes((kind, 1)) + bytes(15) + bytes((symbol,)))
        for kind, symbol in ((0x00, 0), (0x10, end_of_block))
    ]
    return quantisation + build_jpeg_segment(frame, header) + b"".join(codes)


def build_jpeg_segment(marker: int, content: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(content) + 2) + content


def build_jpeg_scan(
    components: tuple[int, ...], coefficients: tuple[int, int], bits: tuple[int, int], data: bytes
) -> bytes:
    """A pass over components of a JPEG.

    coefficients: the first and the last. bits: the lowest before this scan, and after it.
    """
    tables = b"".join(bytes((n, 0)) for n in components)
    selection = bytes((*coefficients, bits[0] << 4 | bits[1]))
    return build_jpeg_segment(0xDA, bytes((len(components),)) + tables + selection) + data


def build_webp(width: int, height: int) -> bytes:
    """A lossless WebP of one colour: 60 bytes are up to 268 megapixels.

    Each of its Huffman codes has one symbol, so a pixel takes no bits.
    """
    fields = [(0x2F, 8), (width - 1, 14), (height - 1, 14)]
    fields += [(0, 1), (0, 3), (0, 1), (0, 1), (0, 1)]
    # Five codes, each: a simple code of one symbol, which has one bit and is 0.
    fields += [(1, 1), (0, 1), (0, 1), (0, 1)] * 5
    number = position = 0
    for value, bits in fields:
        number, position = number | value << position, position + bits
    content = number.to_bytes(32, "little")
    sizes = [struct.pack("<I", size) for size in (len(content) + 12, len(content))]
    return b"RIFF" + sizes[0] + b"WEBPVP8L" + sizes[1] + content


@cache
def build_bombs() -> dict[str, bytes]:
    """All of them, by name."""
    return {
        "PNG, 900 MP in 110 kB": build_png(30_000, 30_000, depth=1, colour=0),
        "PNG, 100 MP": build_png(10_000, 10_000),
        "JPEG, 100 MP": build_jpeg(10_000, 10_000),
        "JPEG, 4,290 MP by its header": build_jpeg(800, 600).replace(
            struct.pack(">HH", 600, 800), struct.pack(">HH", 65_500, 65_500)
        ),
        "JPEG, 65,500 × 700": build_jpeg(65_500, 700),
        "JPEG, 49 MP": build_jpeg(7000, 7000),
        "JPEG, 49 MP in 43 passes": build_many_scans(),
        "WebP, 268 MP in 60 bytes": build_webp(16_383, 16_383),
        "WebP, 100 MP": build_webp(10_000, 10_000),
        "WebP, 49 MP": build_webp(7000, 7000),
        "PNG, 49 MP": build_png(7000, 7000),
        "PNG, 49 MP, interlaced": build_png(7000, 7000, interlaced=True),
        "PNG, 48 MP of 16 bits and alpha": build_png(6900, 6900, depth=16, colour=6),
        "PNG, 48 MP of 16 bits and alpha, interlaced": build_png(
            6900, 6900, depth=16, colour=6, interlaced=True
        ),
        "PNG, one row of 49 MP": build_png(49_000_000, 1, colour=0),
        "PNG, one column of 1 MP": build_png(1, 1_000_000, colour=0),
    }
