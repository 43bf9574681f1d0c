"""Light for dark pictures: as if the lens had been open longer, within limits. What is meant to be dark, such as a night sky, is left as it is."""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

DARK_MEAN, DARK_TOP = (
    0.40,
    0.68,
)  # mean lightness, and what the lightest hundredth reaches: an exposure too short has both; 4 % of good photos do
DEEP_MEAN = 0.24  # so dark on the whole although something in it is light
NIGHT = 0.10  # three quarters of the picture darker than this: a night sky, a black ground
TOP = 0.92  # what the lightest hundredth is brought to
MOST = 4.0  # times as much light: two stops; more shows noise and blocks instead of an animal
GOOD_MEAN, LEAST_GAMMA = (
    0.33,
    0.75,
)  # what the mean is brought towards afterwards, and how far at most


class Lightness(NamedTuple):
    """How light a picture is, each 0 to 1: on the mean, where its lightest hundredth begins, and its third quarter."""

    mean: float
    top: float
    upper: float

    @property
    def dark(self) -> bool:
        """Whether more light would help."""
        return self.upper >= NIGHT and (
            (self.mean < DARK_MEAN and self.top < DARK_TOP) or self.mean < DEEP_MEAN
        )


def lightness(image: NDArray[np.uint8]) -> Lightness:
    """Of an RGB picture, as the eye sees it (CIE L*)."""
    light = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)[:, :, 0] / np.float32(255)
    top, upper = np.percentile(light, (99, 75))
    return Lightness(float(light.mean()), float(top), float(upper))


def lighter(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A dark RGB picture with more light: exposed longer, and, where it is still dark, its shadows opened a little."""
    steps = np.arange(256, dtype=np.float64) / 255
    linear = np.where(steps <= 0.04045, steps / 12.92, ((steps + 0.055) / 1.055) ** 2.4)
    bright = np.percentile(linear[image] @ np.array([0.2126, 0.7152, 0.0722]), 99)
    exposed = np.clip(linear * min(max(TOP**2.2 / max(float(bright), 1e-4), 1.0), MOST), 0, 1)
    curve = np.where(exposed <= 0.0031308, exposed * 12.92, 1.055 * exposed ** (1 / 2.4) - 0.055)
    mean = max(float(curve[image].mean()), 1e-3)
    if mean < GOOD_MEAN:
        curve = curve ** max(np.log(GOOD_MEAN) / np.log(mean), LEAST_GAMMA)
    return np.asarray(np.round(curve * 255).astype(np.uint8)[image])
