"""What would improve a photo, and the result: larger if small and sharp, lighter if dark."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tanuki.animals.enhance.exposure import correct_exposure, measure_lightness
from tanuki.animals.enhance.super_resolution import enlarge
from tanuki.errors import UserError
from tanuki.i18n import msgid

SMALL_BELOW_SIDE = 800
"""Longest side in pixels. A page shows 960; larger photos take too long to enlarge."""
MIN_CRISPNESS = 0.75
"""95 % of sharp photos have more. Blurred ones below gain 0.03 dB by the network, others 0.5 dB."""
ENHANCED_JPEG_QUALITY = 95
"""Of the intermediate file, which is cleaned and stored as an upload is."""
GOOD_ALREADY = msgid(
    "The picture is large enough and light enough; there is nothing to make better."
)
SMALL_BUT_BLURRED = msgid("The picture is small but blurred; a larger one would show no more.")


@dataclass(frozen=True)
class Advice:
    """What would improve a photo; `why_not`, a msgid, if nothing would."""

    larger: bool
    lighter: bool
    why_not: str | None = None


def decode_own_jpeg(jpeg: bytes) -> NDArray[np.uint8]:
    """A JPEG of the object store as RGB. Uploads are decoded by images.clean_upload() alone."""
    bgr = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert bgr is not None
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def measure_crispness(image: NDArray[np.uint8]) -> float:
    """The finest detail relative to the next finer one, as a ratio of standard deviations.

    About 1.3 for a sharp picture, 0.7 for one that is blurred by a pixel.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    fine, coarse = cv2.GaussianBlur(grey, (0, 0), 1.0), cv2.GaussianBlur(grey, (0, 0), 2.0)
    return float((grey - fine).std() / max(float((fine - coarse).std()), 0.5))


def advise(image: NDArray[np.uint8]) -> Advice:
    """What would improve an RGB picture."""
    small = max(image.shape[:2]) < SMALL_BELOW_SIDE
    larger = small and measure_crispness(image) >= MIN_CRISPNESS
    lighter = measure_lightness(image).is_dark
    if larger or lighter:
        return Advice(larger, lighter)
    return Advice(larger=False, lighter=False, why_not=SMALL_BUT_BLURRED if small else GOOD_ALREADY)


def enhance_photo(jpeg: bytes) -> bytes:
    """The improved picture as a JPEG. Raises UserError with the reason if nothing would help."""
    image = decode_own_jpeg(jpeg)
    advice = advise(image)
    if advice.why_not is not None:
        raise UserError(advice.why_not)
    if advice.lighter:
        image = correct_exposure(image)
    if advice.larger:
        image = enlarge(image)
    encoded, content = cv2.imencode(
        ".jpg",
        cv2.cvtColor(image, cv2.COLOR_RGB2BGR),
        [cv2.IMWRITE_JPEG_QUALITY, ENHANCED_JPEG_QUALITY],
    )
    assert encoded
    return content.tobytes()
