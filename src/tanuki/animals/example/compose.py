"""Photos composed from cut-outs: a painted background, a cut-out on it, random light and angle.

Pure: the same random generator gives the same bytes.
"""

import io
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

Pixels = NDArray[np.float64]

PHOTO_SIZES = ((640, 480), (480, 640), (640, 640), (720, 480))
SCENES = {  # colours of the far and the near part, and where the near part begins
    "meadow": ((178, 208, 230), (104, 148, 70), 0.45),
    "forest": ((86, 112, 78), (60, 74, 44), 0.55),
    "beach": ((150, 196, 222), (218, 200, 160), 0.5),
    "snow": ((196, 208, 220), (236, 240, 246), 0.55),
    "room": ((222, 210, 194), (158, 118, 84), 0.68),
    "street": ((168, 170, 176), (112, 110, 112), 0.6),
    "water": ((70, 130, 168), (34, 84, 122), 0.3),
    "dusk": ((212, 136, 96), (74, 60, 70), 0.55),
}
SCENES_BY_CATEGORY = {  # where animals of a category live
    "fish": ("water",),
    "sea": ("water", "beach"),
    "bird": ("meadow", "forest", "beach", "dusk", "street"),
    "dog": ("room", "meadow", "street", "beach"),
    "rabbit": ("meadow", "room", "snow"),
    "small": ("room", "meadow", "forest"),
    "insect": ("meadow", "forest"),
    "reptile": ("forest", "beach", "room"),
}
DEFAULT_SCENES = ("meadow", "forest", "snow", "dusk", "beach")
MAX_ZOOM = 3.2  # a cut-out enlarged more is only blur
DARK_BRIGHTNESS = 0.55  # of one photo in twelve


def compose_photo(cutout: "Image", category: str | None, random: np.random.Generator) -> bytes:
    """A JPEG of a cut-out in a scene that suits its category."""
    from PIL import Image, ImageEnhance, ImageFilter

    width, height = PHOTO_SIZES[random.integers(len(PHOTO_SIZES))]
    scenes = SCENES_BY_CATEGORY.get(category or "", DEFAULT_SCENES)
    canvas = Image.fromarray(
        paint_background(width, height, scenes[random.integers(len(scenes))], random)
    ).convert("RGBA")
    picture = transform_cutout(cutout, width, height, random)
    x = int(random.uniform(-0.08, 1.08) * (width - picture.width))
    y = (
        int(random.uniform(0.35, 1.0) * (height - picture.height))
        if picture.height < height
        else int((height - picture.height) / 2)
    )
    shade = Image.new("RGBA", picture.size, (0, 0, 0, 0))
    shade.putalpha(picture.getchannel("A").point(lambda alpha: int(alpha * 0.35)))
    canvas.alpha_composite(
        *crop_to_photo(shade.filter(ImageFilter.GaussianBlur(9)), x + 8, y + 10, width, height)
    )
    canvas.alpha_composite(*crop_to_photo(picture, x, y, width, height))
    light = DARK_BRIGHTNESS if random.random() < 1 / 12 else random.uniform(0.8, 1.15)
    whole = ImageEnhance.Brightness(canvas.convert("RGB")).enhance(light)
    whole = ImageEnhance.Color(whole).enhance(random.uniform(0.7, 1.25))
    tinted = np.asarray(whole, dtype=np.float64) * np.array(
        [random.uniform(0.94, 1.06), 1.0, random.uniform(0.94, 1.06)]
    )
    grain = random.normal(0.0, 3.0, (height, width, 1))
    content = io.BytesIO()
    Image.fromarray(np.clip(tinted + grain, 0, 255).astype(np.uint8)).save(
        content, "JPEG", quality=88
    )
    return content.getvalue()


def transform_cutout(
    cutout: "Image", width: int, height: int, random: np.random.Generator
) -> "Image":
    """A cut-out, scaled to the photo, mirrored or not, slightly rotated."""
    from PIL import Image

    zoom = random.uniform(0.45, 0.95) * min(width / cutout.width, height / cutout.height)
    zoom = min(zoom, MAX_ZOOM)
    picture = cutout.convert("RGBA").resize(
        (max(8, int(cutout.width * zoom)), max(8, int(cutout.height * zoom))),
        Image.Resampling.BICUBIC,
    )
    if random.random() < 0.5:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return picture.rotate(float(random.normal(0.0, 6.0)), Image.Resampling.BICUBIC, expand=True)


def crop_to_photo(
    layer: "Image", x: int, y: int, width: int, height: int
) -> tuple["Image", tuple[int, int]]:
    """The part of a layer that lies in the photo, and its position."""
    left, top = max(0, -x), max(0, -y)
    inside = layer.crop((left, top, min(layer.width, width - x), min(layer.height, height - y)))
    return inside, (max(0, x), max(0, y))


def paint_background(
    width: int, height: int, scene: str, random: np.random.Generator
) -> NDArray[np.uint8]:
    """A scene out of focus: far and near, with blots of light and dark [height, width, RGB]."""
    far, near, edge = SCENES[scene]
    down = np.linspace(0, 1, height)[:, None, None]
    into = 1 / (1 + np.exp(-(down - edge - random.uniform(-0.1, 0.1)) * 18))
    colours = np.array(far) * (1 - into) * (1 - 0.15 * down) + np.array(near) * into * (
        0.85 + 0.25 * down
    )
    colours = (
        colours
        + 20 * smooth_noise(width, height, 9, random)[..., None]
        + 9 * smooth_noise(width, height, 28, random)[..., None]
    )
    return np.asarray(np.clip(colours + random.normal(0, 6, 3), 0, 255), dtype=np.uint8)


def smooth_noise(width: int, height: int, across: int, random: np.random.Generator) -> Pixels:
    """Smooth noise of about -2 to 2, with `across` blots along the longer side."""
    from PIL import Image

    coarse = random.normal(
        0.0,
        1.0,
        (
            max(2, across * height // max(width, height)),
            max(2, across * width // max(width, height)),
        ),
    )
    smooth = Image.fromarray(coarse.astype(np.float32), "F").resize(
        (width, height), Image.Resampling.BICUBIC
    )
    return np.asarray(smooth, dtype=np.float64)
