"""Exposure correction for dark photos; what is meant to be dark, such as a night sky, stays."""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

MAX_DARK_MEAN, MAX_DARK_TOP = 0.40, 0.68
"""Mean lightness and 99th percentile: a short exposure is below both, 4 % of good photos are."""
MAX_DEEP_MEAN = 0.24
"""Below this mean a photo is dark although something in it is light."""
MAX_NIGHT_UPPER = 0.10
"""Three quarters of the picture are darker than this: a night sky, a black background."""
TARGET_TOP = 0.92
"""What the 99th percentile is brought to."""
MAX_GAIN = 4.0
"""Two stops; more shows noise and compression blocks instead of an animal."""
TARGET_MEAN, MIN_GAMMA = 0.33, 0.75
"""What the mean is brought towards afterwards, and the strongest gamma for that."""
LUMINANCE_WEIGHTS = np.array([0.2126, 0.7152, 0.0722])  # of linear sRGB


class Lightness(NamedTuple):
    """CIE lightness of a picture, each 0 to 1: mean, 99th and 75th percentile."""

    mean: float
    top: float
    upper: float

    @property
    def is_dark(self) -> bool:
        """Whether a longer exposure would improve it."""
        short_exposure = self.mean < MAX_DARK_MEAN and self.top < MAX_DARK_TOP
        return self.upper >= MAX_NIGHT_UPPER and (short_exposure or self.mean < MAX_DEEP_MEAN)


def measure_lightness(image: NDArray[np.uint8]) -> Lightness:
    """The lightness of an RGB picture."""
    lightness = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)[:, :, 0] / np.float32(255)
    top, upper = np.percentile(lightness, (99, 75))
    return Lightness(float(lightness.mean()), float(top), float(upper))


def correct_exposure(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A dark RGB picture as if exposed longer; if it is still dark, with its shadows raised.

    One curve for all channels: the gain is applied to linear light (IEC 61966-2-1).
    """
    values = np.arange(256, dtype=np.float64) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    top = float(np.percentile(linear[image] @ LUMINANCE_WEIGHTS, 99))
    gain = min(max(TARGET_TOP**2.2 / max(top, 1e-4), 1.0), MAX_GAIN)
    exposed = np.clip(linear * gain, 0, 1)
    curve = np.where(exposed <= 0.0031308, exposed * 12.92, 1.055 * exposed ** (1 / 2.4) - 0.055)
    mean = max(float(curve[image].mean()), 1e-3)
    if mean < TARGET_MEAN:
        curve = curve ** max(np.log(TARGET_MEAN) / np.log(mean), MIN_GAMMA)
    return np.asarray(np.round(curve * 255).astype(np.uint8)[image])
