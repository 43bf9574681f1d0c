"""The format of a file, by its first bytes; its name and the browser's word do not count."""

JPEG, PNG, WEBP, HEIC = "jpeg", "png", "webp", "heic"
ACCEPTED_FORMATS = {JPEG: "JPEG", PNG: "PNG", WEBP: "WebP", HEIC: "HEIC"}

SIGNATURES = (
    (b"\xff\xd8\xff", JPEG),
    (b"\x89PNG\r\n\x1a\n", PNG),
    (b"GIF8", "GIF"),
    (b"%PDF-", "PDF"),
    (b"PK\x03\x04", "ZIP"),
    (b"\x1f\x8b", "gzip"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\0\0\x01\0", "ICO"),
    (b"8BPS", "PSD"),
)
# Brands of ISO/IEC 23008-12 for pictures that are compressed with HEVC.
HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"}
AVIF_BRANDS = {b"avif", b"avis"}
HEADER_BYTES = 1024
"""What is read of a container's brands, or of a text to tell HTML from SVG."""


def detect_format(content: bytes) -> str | None:
    """A key of ACCEPTED_FORMATS, the name of another format, or None if it is unknown."""
    for signature, name in SIGNATURES:
        if content.startswith(signature):
            return name
    if content[:4] == b"RIFF":
        return WEBP if content[8:12] == b"WEBP" else "RIFF"
    if content[4:8] == b"ftyp":
        return detect_by_brands(content)
    return detect_markup(content)


def detect_by_brands(content: bytes) -> str:
    """HEIC, AVIF or MP4: they share a container, whose first box lists the brands."""
    end = min(int.from_bytes(content[:4], "big"), HEADER_BYTES)
    main_brand = content[8:12]
    brands = {main_brand, *(content[n : n + 4] for n in range(16, end, 4))}
    if main_brand in AVIF_BRANDS or (brands & AVIF_BRANDS and not brands & HEIC_BRANDS):
        return "AVIF"
    return HEIC if brands & HEIC_BRANDS else "MP4"


def detect_markup(content: bytes) -> str | None:
    """SVG, HTML or XML: a byte order mark, blanks, a declaration or a comment may come first."""
    text = content[:HEADER_BYTES].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if not text.startswith(b"<"):
        return None
    if b"<svg" in text:
        return "SVG"
    return "HTML" if b"<html" in text or text.startswith(b"<!doctype html") else "XML"
