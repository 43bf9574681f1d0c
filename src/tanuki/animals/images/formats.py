"""What a file is, by its first bytes: neither its name nor what a browser says of it counts. Nothing is decoded here."""

JPEG, PNG, WEBP, HEIC = "jpeg", "png", "webp", "heic"
ACCEPTED = {JPEG: "JPEG", PNG: "PNG", WEBP: "WebP", HEIC: "HEIC"}

BEGINNINGS = (
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
HEIC_BRANDS = {
    b"heic",
    b"heix",
    b"heim",
    b"heis",
    b"hevc",
    b"hevx",
}  # what is compressed with HEVC, as ISO/IEC 23008-12 names it
AVIF_BRANDS = {b"avif", b"avis"}
LOOKED_AT = 1024  # of a text, to tell HTML from SVG


def found(content: bytes) -> str | None:
    """One of ACCEPTED, or the name of what the file is instead, or None when its first bytes say nothing to us."""
    for beginning, name in BEGINNINGS:
        if content.startswith(beginning):
            return name
    if content[:4] == b"RIFF":
        return WEBP if content[8:12] == b"WEBP" else "RIFF"
    if content[4:8] == b"ftyp":
        return of_brands(content)
    return of_text(content)


def of_brands(content: bytes) -> str:
    """Films and several kinds of picture share one container, whose first box names what it may be read as."""
    end = min(int.from_bytes(content[:4], "big"), LOOKED_AT)
    brands = {content[8:12], *(content[n : n + 4] for n in range(16, end, 4))}
    if content[8:12] in AVIF_BRANDS or (brands & AVIF_BRANDS and not brands & HEIC_BRANDS):
        return "AVIF"
    return HEIC if brands & HEIC_BRANDS else "MP4"


def of_text(content: bytes) -> str | None:
    """HTML and SVG are texts: what comes first in them may be a mark, blanks, a declaration or a comment."""
    text = content[:LOOKED_AT].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if not text.startswith(b"<"):
        return None
    if b"<svg" in text:
        return "SVG"
    return "HTML" if b"<html" in text or text.startswith(b"<!doctype html") else "XML"
