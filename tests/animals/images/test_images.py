"""Cleaning of photos: orientation, colours, removed metadata, sizes and refused formats."""

import hashlib
import io
import random
import re

import pytest
from bench.lib import damaged_images
from bench.lib.damaged_images import (
    CORNERS,
    FORMATS,
    SECRET,
    build_exif,
    draw_corners,
    draw_photo,
    encode_image,
    encode_with_metadata,
    load_profile,
    turn_for_orientation,
)
from PIL import Image, ImageChops, ImageCms, ImageStat

from tanuki.animals.images import formats, photo_files
from tanuki.errors import UserError
from tests.factories.decoding import clean_image


def open_image(clean_photo: photo_files.CleanPhoto, size: str = "full") -> Image.Image:
    """A picture as a viewer decodes it."""
    return Image.open(io.BytesIO(clean_photo.files[size])).convert("RGB")


def sample_quarters(clean_photo: photo_files.CleanPhoto) -> list[tuple[int, ...]]:
    """The colours in the middle of the four quarters, in the order of CORNERS."""
    image = open_image(clean_photo)
    right, bottom = image.width * 3 // 4, image.height * 3 // 4
    left, top = image.width // 4, image.height // 4
    positions = ((left, top), (right, top), (right, bottom), (left, bottom))
    return [image.getpixel(position) for position in positions]


def is_near(colour: tuple[int, ...], expected: tuple[int, ...], tolerance: int = 4) -> bool:
    return all(
        abs(value - expected_value) <= tolerance
        for value, expected_value in zip(colour, expected, strict=True)
    )


def list_segments(jpeg: bytes) -> set[int]:
    """The markers of a JPEG's parts before its scan."""
    position, markers = 2, set()
    while jpeg[position + 1] != 0xDA:
        markers.add(jpeg[position + 1])
        position += 2 + int.from_bytes(jpeg[position + 2 : position + 4], "big")
    return markers


# ---- orientation and colours -------------------------------------------------------------------


@pytest.mark.parametrize("source", FORMATS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_of_the_camera_is_applied(source, orientation):
    content = encode_image(
        turn_for_orientation(draw_corners(), orientation),
        source,
        exif=build_exif(orientation),
        quality=95,
    )
    clean_photo = clean_image(content)
    assert (clean_photo.width, clean_photo.height, clean_photo.source) == (120, 80, source)
    assert all(is_near(*pair) for pair in zip(sample_quarters(clean_photo), CORNERS, strict=True))


ORANGE = Image.new("RGB", (40, 30), (200, 100, 50))


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (ORANGE, (200, 100, 50)),
        (ORANGE.convert("RGBA"), (200, 100, 50)),
        (ORANGE.quantize(8), (200, 100, 50)),
        (ORANGE.convert("L"), (124, 124, 124)),
        (ORANGE.convert("LA"), (124, 124, 124)),
        (Image.new("1", (40, 30), 1), (255, 255, 255)),
        (
            Image.frombytes("I;16", (40, 30), (124 * 257).to_bytes(2, "little") * 1200),
            (124, 124, 124),
        ),
    ],
    ids=lambda value: getattr(value, "mode", ""),
)
def test_every_pixel_format_is_converted_to_rgb(image, expected):
    assert is_near(
        open_image(clean_image(encode_image(image, "png"))).getpixel((20, 15)), expected, 1
    )


def test_cmyk_without_a_profile_is_converted():
    clean_photo = clean_image(encode_image(ORANGE.convert("CMYK"), "jpeg", quality=95))
    red, green, blue = open_image(clean_photo).getpixel((20, 15))
    assert red > 150 and red > green > blue  # the exact colour depends on the printer


def test_a_wide_gamut_profile_is_converted_to_srgb():
    image = Image.new("RGB", (40, 30), (200, 120, 60))
    p3 = ImageCms.ImageCmsProfile(io.BytesIO(load_profile("p3")))
    expected = ImageCms.profileToProfile(image, p3, ImageCms.createProfile("sRGB")).getpixel((0, 0))
    assert not is_near(expected, (200, 120, 60))
    for source in FORMATS:
        content = encode_image(image, source, quality=97, icc_profile=load_profile("p3"))
        assert is_near(open_image(clean_image(content)).getpixel((20, 15)), expected), source


def test_cmyk_with_a_profile_and_broken_profiles_are_accepted():
    cmyk = encode_image(
        Image.new("CMYK", (40, 30), (0, 128, 200, 30)),
        "jpeg",
        quality=95,
        icc_profile=load_profile("cmyk"),
    )
    red, green, blue = open_image(clean_image(cmyk)).getpixel((20, 15))
    assert red > green > blue
    broken = encode_image(
        Image.new("RGB", (40, 30), (200, 100, 50)),
        "png",
        icc_profile=b"nothing like a profile" * 20,
    )
    assert is_near(open_image(clean_image(broken)).getpixel((20, 15)), (200, 100, 50))


@pytest.mark.parametrize("source", ["png", "webp"])
def test_transparent_pixels_become_white(source):
    image = Image.new("RGBA", (60, 40), (10, 20, 30, 0))
    image.paste((200, 40, 40, 255), (0, 0, 30, 40))
    image.paste((0, 0, 0, 128), (0, 0, 15, 40))
    result = open_image(clean_image(encode_image(image, source, lossless=True)))
    assert is_near(result.getpixel((50, 20)), (255, 255, 255))
    assert is_near(result.getpixel((22, 20)), (200, 40, 40), 6)
    assert is_near(result.getpixel((6, 20)), (127, 127, 127), 6)


@pytest.mark.parametrize("source", ["png", "webp"])
def test_the_first_frame_of_an_animation_is_used(source):
    clean_photo = clean_image(damaged_images.encode_animation(source))
    assert all(is_near(*pair) for pair in zip(sample_quarters(clean_photo), CORNERS, strict=True))


def test_the_mean_colour_is_computed_from_the_pixels():
    assert (
        clean_image(encode_image(Image.new("RGB", (50, 50), (16, 128, 240)), "png")).colour
        == "#1080f0"
    )
    half = Image.new("RGB", (64, 64), (255, 255, 255))
    half.paste((0, 0, 0), (0, 0, 64, 32))
    assert clean_image(encode_image(half, "png")).colour in ("#7f7f7f", "#808080")


# ---- metadata ----------------------------------------------------------------------------------


@pytest.mark.parametrize("source", FORMATS)
def test_all_metadata_is_removed(source):
    content = encode_with_metadata(source, 6)
    assert SECRET in content
    clean_photo = clean_image(content)
    for size, file in clean_photo.files.items():
        assert SECRET not in file
        assert not list_segments(file) & {*range(0xE1, 0xF0), 0xFE}, (
            size
        )  # EXIF, XMP, profiles, comments
        assert set(Image.open(io.BytesIO(file)).info) <= {
            "jfif",
            "jfif_version",
            "jfif_unit",
            "jfif_density",
            "dpi",
        }
    assert all(is_near(*pair) for pair in zip(sample_quarters(clean_photo), CORNERS, strict=True))


def test_appended_and_embedded_content_is_removed():
    for insert in (damaged_images.append_zip, damaged_images.insert_script):
        for source in FORMATS:
            content = insert(random.Random(1), encode_image(draw_corners(), source), source)
            for file in clean_image(content).files.values():
                assert (
                    b"PK\x03\x04" not in file
                    and b"<script" not in file
                    and file.endswith(b"\xff\xd9")
                )


def test_the_same_pixels_have_the_same_digest():
    image = draw_photo(5, 300, 200)
    first = clean_image(encode_image(image, "jpeg"))
    second = clean_image(
        encode_image(image, "jpeg", exif=build_exif(1), comment=b"from elsewhere", dpi=(300, 300))
    )
    assert first == second
    assert first.digest == hashlib.sha256(first.files["full"]).hexdigest()
    assert clean_image(encode_image(draw_photo(6, 300, 200), "jpeg")).digest != first.digest
    assert (
        clean_image(encode_image(image, "png")).digest
        == clean_image(encode_image(image, "webp", lossless=True)).digest
    )


# ---- sizes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "width", "height", "expected"),
    [
        ("jpeg", 2600, 1300, {"full": (2048, 1024), "page": (960, 480), "list": (320, 160)}),
        (
            "jpeg",
            1000,
            4032,
            {"full": (500, 2016), "page": (238, 960), "list": (79, 320)},
        ),  # decoded at half size, which is exact enough
        ("webp", 2600, 1300, {"full": (2048, 1024), "page": (960, 480), "list": (320, 160)}),
        ("png", 500, 700, {"full": (500, 700), "page": (500, 700), "list": (229, 320)}),
        ("heic", 1200, 64, {"full": (1200, 64), "page": (960, 51), "list": (320, 17)}),
        ("png", 3, 3000, {"full": (2, 2048), "page": (1, 960), "list": (1, 320)}),
        ("jpeg", 1, 1, {"full": (1, 1), "page": (1, 1), "list": (1, 1)}),
    ],
)
def test_every_size_is_created_and_none_is_enlarged(source, width, height, expected):
    clean_photo = clean_image(
        encode_image(Image.new("RGB", (width, height), (90, 120, 60)), source)
    )
    assert {
        size: open_image(clean_photo, size).size for size in photo_files.PHOTO_SIDES
    } == expected
    assert (clean_photo.width, clean_photo.height) == expected["full"]


@pytest.mark.parametrize(
    ("source", "width", "height"),
    [("jpeg", 2600, 1700), ("webp", 2300, 900), ("png", 1100, 700), ("heic", 500, 300)],
)
def test_a_reduced_picture_is_close_to_the_original(source, width, height):
    image = draw_photo(8, width, height)
    clean_photo = clean_image(encode_image(image, source))
    for size in photo_files.PHOTO_SIDES:
        reduced = open_image(clean_photo, size)
        expected = image.resize(reduced.size, Image.Resampling.LANCZOS)
        assert mean_difference(reduced, expected) < 5, size


def mean_difference(first: Image.Image, second: Image.Image) -> float:
    """How far two pictures' pixels are from each other, of 255."""
    return sum(ImageStat.Stat(ImageChops.difference(first, second)).mean) / 3


# ---- formats -----------------------------------------------------------------------------------


@pytest.mark.parametrize("source", FORMATS)
def test_a_format_is_decided_by_content(source):
    assert formats.detect_format(encode_image(draw_corners(), source)) == source


UNKNOWN_FORMAT = "The file is not a picture that we know; expected JPEG, PNG, WebP or HEIC."


def explain_format(name: str) -> str:
    return f"The file is {name} by its content; expected a picture (JPEG, PNG, WebP or HEIC)."


def explain_damage(name: str) -> str:
    return f"The {name} picture is damaged or incomplete; expected a whole file."


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "The file is empty; expected a picture (JPEG, PNG, WebP or HEIC)."),
        (b"GIF89a" + bytes(50), explain_format("GIF")),
        (b"GIF89a/*" + encode_image(draw_corners(), "jpeg"), explain_format("GIF")),
        (damaged_images.build_foreign_files()["SVG"], explain_format("SVG")),
        (damaged_images.build_foreign_files()["HTML"], explain_format("HTML")),
        (b"<note>rex</note>", explain_format("XML")),
        (b"%PDF-1.7", explain_format("PDF")),
        (b"RIFF\0\0\0\0WAVE", explain_format("RIFF")),
        (damaged_images.build_foreign_files()["AVIF"], explain_format("AVIF")),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf", explain_format("AVIF")),
        (damaged_images.build_foreign_files()["MP4"], explain_format("MP4")),
        ("柴犬".encode(), UNKNOWN_FORMAT),
        (b"\r\n" + encode_image(draw_corners(), "jpeg"), UNKNOWN_FORMAT),
        (encode_image(draw_corners(), "jpeg")[:-300], explain_damage("JPEG")),
        (encode_image(draw_corners(), "png")[:-30], explain_damage("PNG")),
        (encode_image(draw_corners(), "webp")[:-30], explain_damage("WebP")),
        (encode_image(draw_corners(), "heic")[:-30], explain_damage("HEIC")),
        (b"\xff\xd8\xff" + bytes(25_000_000), "The file has 26 MB; expected at most 25 MB."),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_unusable_file_is_refused_with_the_reason(content, reason):
    with pytest.raises(UserError, match=f"^{re.escape(reason)}$"):
        clean_image(content)
