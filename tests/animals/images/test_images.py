"""What comes out for what comes in: the right way up, the right colours, no word about where it was taken, in three sizes."""

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


def opened(accepted: photo_files.CleanPhoto, size: str = "full") -> Image.Image:
    """A picture as somebody who looks at it decodes it."""
    return Image.open(io.BytesIO(accepted.files[size])).convert("RGB")


def quarters(accepted: photo_files.CleanPhoto) -> list[tuple[int, ...]]:
    """The colours in the middle of the four quarters, in the order of CORNERS."""
    image = opened(accepted)
    right, bottom = image.width * 3 // 4, image.height * 3 // 4
    return [image.getpixel(at) for at in ((image.width // 4, image.height // 4), (right, image.height // 4), (right, bottom), (image.width // 4, bottom))]  # fmt: skip


def near(found: tuple[int, ...], wanted: tuple[int, ...], most: int = 4) -> bool:
    return all(abs(one - other) <= most for one, other in zip(found, wanted, strict=True))


def segments(jpeg: bytes) -> set[int]:
    """The markers of a JPEG's parts before its scan."""
    at, seen = 2, set()
    while jpeg[at + 1] != 0xDA:
        seen.add(jpeg[at + 1])
        at += 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
    return seen


# ---- the right way up, in the right colours ----------------------------------------------------


@pytest.mark.parametrize("source", FORMATS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_stands_as_its_camera_was_held(source, orientation):
    sent = encode_image(
        turn_for_orientation(draw_corners(), orientation),
        source,
        exif=build_exif(orientation),
        quality=95,
    )
    accepted = clean_image(sent)
    assert (accepted.width, accepted.height, accepted.source) == (120, 80, source)
    assert all(near(*pair) for pair in zip(quarters(accepted), CORNERS, strict=True))


ORANGE = Image.new("RGB", (40, 30), (200, 100, 50))


@pytest.mark.parametrize(
    ("image", "wanted"),
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
def test_every_kind_of_pixel_becomes_the_colour_it_means(image, wanted):
    assert near(opened(clean_image(encode_image(image, "png"))).getpixel((20, 15)), wanted, 1)


def test_print_colours_stay_what_they_were():
    accepted = clean_image(encode_image(ORANGE.convert("CMYK"), "jpeg", quality=95))
    red, green, blue = opened(accepted).getpixel((20, 15))
    assert red > 150 and red > green > blue  # how orange exactly depends on the printer


def test_a_wide_profile_is_brought_to_srgb_as_another_engine_does_it():
    image = Image.new("RGB", (40, 30), (200, 120, 60))
    p3 = ImageCms.ImageCmsProfile(io.BytesIO(load_profile("p3")))
    wanted = ImageCms.profileToProfile(image, p3, ImageCms.createProfile("sRGB")).getpixel((0, 0))
    assert not near(wanted, (200, 120, 60))
    for source in FORMATS:
        sent = encode_image(image, source, quality=97, icc_profile=load_profile("p3"))
        assert near(opened(clean_image(sent)).getpixel((20, 15)), wanted), source


def test_print_colours_with_their_profile_and_a_broken_profile_are_read():
    cmyk = encode_image(
        Image.new("CMYK", (40, 30), (0, 128, 200, 30)),
        "jpeg",
        quality=95,
        icc_profile=load_profile("cmyk"),
    )
    red, green, blue = opened(clean_image(cmyk)).getpixel((20, 15))
    assert red > green > blue
    broken = encode_image(
        Image.new("RGB", (40, 30), (200, 100, 50)),
        "png",
        icc_profile=b"nothing like a profile" * 20,
    )
    assert near(opened(clean_image(broken)).getpixel((20, 15)), (200, 100, 50))


@pytest.mark.parametrize("source", ["png", "webp"])
def test_what_is_transparent_becomes_white(source):
    image = Image.new("RGBA", (60, 40), (10, 20, 30, 0))
    image.paste((200, 40, 40, 255), (0, 0, 30, 40))
    image.paste((0, 0, 0, 128), (0, 0, 15, 40))
    found = opened(clean_image(encode_image(image, source, lossless=True)))
    assert near(found.getpixel((50, 20)), (255, 255, 255))
    assert near(found.getpixel((22, 20)), (200, 40, 40), 6)
    assert near(found.getpixel((6, 20)), (127, 127, 127), 6)


@pytest.mark.parametrize("source", ["png", "webp"])
def test_of_an_animated_picture_the_first_frame_is_taken(source):
    accepted = clean_image(damaged_images.encode_animation(source))
    assert all(near(*pair) for pair in zip(quarters(accepted), CORNERS, strict=True))


def test_the_mean_colour_is_that_of_the_pixels():
    assert (
        clean_image(encode_image(Image.new("RGB", (50, 50), (16, 128, 240)), "png")).colour
        == "#1080f0"
    )
    half = Image.new("RGB", (64, 64), (255, 255, 255))
    half.paste((0, 0, 0), (0, 0, 64, 32))
    assert clean_image(encode_image(half, "png")).colour in ("#7f7f7f", "#808080")


# ---- nothing but the picture -------------------------------------------------------------------


@pytest.mark.parametrize("source", FORMATS)
def test_no_metadata_gets_through(source):
    sent = encode_with_metadata(source, 6)
    assert SECRET in sent
    accepted = clean_image(sent)
    for size, file in accepted.files.items():
        assert SECRET not in file
        assert not segments(file) & {*range(0xE1, 0xF0), 0xFE}, (
            size
        )  # EXIF, XMP, profiles, comments
        assert set(Image.open(io.BytesIO(file)).info) <= {
            "jfif",
            "jfif_version",
            "jfif_unit",
            "jfif_density",
            "dpi",
        }
    assert all(near(*pair) for pair in zip(quarters(accepted), CORNERS, strict=True))


def test_what_hides_behind_or_inside_a_picture_stays_outside():
    for bend in (damaged_images.append_zip, damaged_images.insert_script):
        for source in FORMATS:
            sent = bend(random.Random(1), encode_image(draw_corners(), source), source)
            for file in clean_image(sent).files.values():
                assert (
                    b"PK\x03\x04" not in file
                    and b"<script" not in file
                    and file.endswith(b"\xff\xd9")
                )


def test_the_same_pixels_have_the_same_digest():
    image = draw_photo(5, 300, 200)
    one = clean_image(encode_image(image, "jpeg"))
    other = clean_image(
        encode_image(image, "jpeg", exif=build_exif(1), comment=b"from elsewhere", dpi=(300, 300))
    )
    assert one == other
    assert one.digest == hashlib.sha256(one.files["full"]).hexdigest()
    assert clean_image(encode_image(draw_photo(6, 300, 200), "jpeg")).digest != one.digest
    assert (
        clean_image(encode_image(image, "png")).digest
        == clean_image(encode_image(image, "webp", lossless=True)).digest
    )


# ---- sizes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "width", "height", "wanted"),
    [
        ("jpeg", 2600, 1300, {"full": (2048, 1024), "page": (960, 480), "list": (320, 160)}),
        (
            "jpeg",
            1000,
            4032,
            {"full": (500, 2016), "page": (238, 960), "list": (79, 320)},
        ),  # decoded at half, which is near enough
        ("webp", 2600, 1300, {"full": (2048, 1024), "page": (960, 480), "list": (320, 160)}),
        ("png", 500, 700, {"full": (500, 700), "page": (500, 700), "list": (229, 320)}),
        ("heic", 1200, 64, {"full": (1200, 64), "page": (960, 51), "list": (320, 17)}),
        ("png", 3, 3000, {"full": (2, 2048), "page": (1, 960), "list": (1, 320)}),
        ("jpeg", 1, 1, {"full": (1, 1), "page": (1, 1), "list": (1, 1)}),
    ],
)
def test_sizes_are_made_and_never_enlarged(source, width, height, wanted):
    accepted = clean_image(encode_image(Image.new("RGB", (width, height), (90, 120, 60)), source))
    assert {size: opened(accepted, size).size for size in photo_files.PHOTO_SIDES} == wanted
    assert (accepted.width, accepted.height) == wanted["full"]


@pytest.mark.parametrize(
    ("source", "width", "height"),
    [("jpeg", 2600, 1700), ("webp", 2300, 900), ("png", 1100, 700), ("heic", 500, 300)],
)
def test_a_picture_made_smaller_looks_like_the_one_that_was_sent(source, width, height):
    image = draw_photo(8, width, height)
    accepted = clean_image(encode_image(image, source))
    for size in photo_files.PHOTO_SIDES:
        found = opened(accepted, size)
        wanted = image.resize(found.size, Image.Resampling.LANCZOS)
        assert mean_difference(found, wanted) < 5, size


def mean_difference(one: Image.Image, other: Image.Image) -> float:
    """How far two pictures' pixels are from each other, of 255."""
    return sum(ImageStat.Stat(ImageChops.difference(one, other)).mean) / 3


# ---- what it is --------------------------------------------------------------------------------


@pytest.mark.parametrize("source", FORMATS)
def test_a_format_is_decided_by_content(source):
    assert formats.detect_format(encode_image(draw_corners(), source)) == source


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (b"", "The file is empty; expected a picture (JPEG, PNG, WebP or HEIC)."),
        (b"GIF89a" + bytes(50), "The file is GIF by its content; expected a picture (JPEG, PNG, WebP or HEIC)."),
        (b"GIF89a/*" + encode_image(draw_corners(), "jpeg"), "The file is GIF by its content; expected a picture (JPEG, PNG, WebP or HEIC)."),
        (damaged_images.build_foreign_files()["SVG"], "The file is SVG by its content; expected a picture (JPEG, PNG, WebP or HEIC)."),
        (damaged_images.build_foreign_files()["HTML"], "The file is HTML by its content; expected a picture (JPEG, PNG, WebP or HEIC)."),
        (b"<note>rex</note>", "The file is XML by its content; expected a picture (JPEG, PNG, WebP or HEIC)."),
        (b"%PDF-1.7", "The file is PDF by its content; expected a picture (JPEG, PNG, WebP or HEIC)."),
        (b"RIFF\0\0\0\0WAVE", "The file is RIFF by its content; expected a picture (JPEG, PNG, WebP or HEIC)."),
        (damaged_images.build_foreign_files()["AVIF"], "The file is AVIF by its content; expected a picture (JPEG, PNG, WebP or HEIC)."),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf", "The file is AVIF by its content; expected a picture (JPEG, PNG, WebP or HEIC)."),
        (damaged_images.build_foreign_files()["MP4"], "The file is MP4 by its content; expected a picture (JPEG, PNG, WebP or HEIC)."),
        ("柴犬".encode(), "The file is not a picture that we know; expected JPEG, PNG, WebP or HEIC."),
        (b"\r\n" + encode_image(draw_corners(), "jpeg"), "The file is not a picture that we know; expected JPEG, PNG, WebP or HEIC."),
        (encode_image(draw_corners(), "jpeg")[:-300], "The JPEG picture is damaged or incomplete; expected a whole file."),
        (encode_image(draw_corners(), "png")[:-30], "The PNG picture is damaged or incomplete; expected a whole file."),
        (encode_image(draw_corners(), "webp")[:-30], "The WebP picture is damaged or incomplete; expected a whole file."),
        (encode_image(draw_corners(), "heic")[:-30], "The HEIC picture is damaged or incomplete; expected a whole file."),
        (b"\xff\xd8\xff" + bytes(25_000_000), "The file has 26 MB; expected at most 25 MB."),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_what_is_not_a_picture_of_ours_gets_a_sentence(content, wanted):
    with pytest.raises(UserError, match=f"^{re.escape(wanted)}$"):
        clean_image(content)
