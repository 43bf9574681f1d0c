"""What would make a picture better, and the better picture: larger where it is small and sharp, lighter where it is dark. Otherwise why not, in a sentence."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tanuki.animals.enhance.exposure import lighter, lightness
from tanuki.animals.enhance.super_resolution import enlarge
from tanuki.errors import UserError
from tanuki.i18n import msgid

SMALL = 800  # the longest side; a page shows 960, and what is larger takes more than SECONDS on two busy cores
CRISP = 0.75  # share of fine detail in less fine: 95 % of sharp photos have more. Blurred ones below it gain 0.03 dB from the network, others 0.5
QUALITY = 95  # of what is handed on to be taken in
LARGE_ENOUGH = msgid(
    "The picture is large enough and light enough; there is nothing to make better."
)
BLURRED = msgid("The picture is small but blurred; a larger one would show no more.")


@dataclass(frozen=True)
class Advice:
    """What would help a picture; `why_not` where nothing does."""

    larger: bool
    lighter: bool
    why_not: str | None = None

    @property
    def any(self) -> bool:
        """Whether anything does."""
        return self.larger or self.lighter


def decoded(jpeg: bytes) -> NDArray[np.uint8]:
    """One of our own JPEGs as RGB; what strangers send is decoded by images.accept() alone."""
    found = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert found is not None
    return np.asarray(cv2.cvtColor(found, cv2.COLOR_BGR2RGB), np.uint8)


def crispness(image: NDArray[np.uint8]) -> float:
    """How much the finest detail changes beside the next finer one: about 1.3 in a sharp picture, 0.7 in one blurred by a pixel."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    fine, less = cv2.GaussianBlur(grey, (0, 0), 1.0), cv2.GaussianBlur(grey, (0, 0), 2.0)
    return float((grey - fine).std() / max(float((fine - less).std()), 0.5))


def advice(image: NDArray[np.uint8]) -> Advice:
    """What would help an RGB picture."""
    small = max(image.shape[:2]) < SMALL
    larger, dark = small and crispness(image) >= CRISP, lightness(image).dark
    if larger or dark:
        return Advice(larger, dark)
    return Advice(larger=False, lighter=False, why_not=BLURRED if small else LARGE_ENOUGH)


def better(jpeg: bytes) -> bytes:
    """The better picture of one of our own, as a JPEG to be taken in. Raises UserError with the reason where nothing helps."""
    image = decoded(jpeg)
    said = advice(image)
    if said.why_not is not None:
        raise UserError(said.why_not)
    if said.lighter:
        image = lighter(image)
    if said.larger:
        image = enlarge(image)
    done, made = cv2.imencode(
        ".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
    )
    assert done
    return made.tobytes()
