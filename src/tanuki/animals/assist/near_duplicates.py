"""Whether two pictures are one: saved again, scaled, cropped, framed, turned or mirrored. Points found in both must lie in one position, and the pictures must agree there.

A hash of the whole picture does not know a crop or a frame; points alone find the same logo in two pictures. Both together do: bench/animals_assist.py has the numbers.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]

SIDE = 320  # the longest side of what is compared, in pixels: that of images.SIZES["list"]
POINTS = 400
SURELY = 0.8  # a point's best match is so much nearer than its second best
LEAST_POINTS = 8  # that lie in one position
NEAR = 4.0  # pixels from there
LEAST_SHARE = 0.12  # of the smaller picture is compared
LEAST_LIKE = 0.80  # correlation of what lies in both; different pictures stay below 0.5
LEAST_CONTRAST = 2.0  # of 255: two flat walls agree about everything
SMALLEST, LARGEST = 0.3, 3.4  # scale of one to the other


@dataclass(frozen=True)
class Points:
    """A picture in grey with the points by which it is known again."""

    grey: Image
    places: NDArray[np.float32]  # [n, 2]
    codes: Image  # [n, 32]


def points(image: Image) -> Points:
    """Of a picture, RGB or grey."""
    grey = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    scale = SIDE / max(grey.shape)
    if scale != 1:
        size = (max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale)))
        grey = cv2.resize(
            grey, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        )
    finder = cv2.ORB.create(
        POINTS, scaleFactor=1.2, nlevels=8, edgeThreshold=15, patchSize=31, fastThreshold=7
    )
    places, codes = finder.detectAndCompute(grey, None)
    if codes is None:
        codes = np.empty((0, 32), np.uint8)
    return Points(
        np.asarray(grey, np.uint8),
        np.array([place.pt for place in places], np.float32).reshape(-1, 2),
        codes,
    )


def mirrored(image: Image) -> Image:
    """A picture as in a mirror; its points are others."""
    return np.ascontiguousarray(image[:, ::-1])


def likeness(one: Points, other: Points) -> float:
    """How alike two pictures are where one lies on the other: 0 where it does not, 1 where they are the same."""
    if min(len(one.codes), len(other.codes)) < LEAST_POINTS:
        return 0.0
    pairs = cv2.BFMatcher(cv2.NORM_HAMMING).knnMatch(one.codes, other.codes, k=2)
    sure = [
        pair[0] for pair in pairs if len(pair) == 2 and pair[0].distance < SURELY * pair[1].distance
    ]
    if len(sure) < LEAST_POINTS:
        return 0.0
    here, there = (
        one.places[[each.queryIdx for each in sure]],
        other.places[[each.trainIdx for each in sure]],
    )
    placed, inside = cv2.estimateAffinePartial2D(
        here, there, method=cv2.RANSAC, ransacReprojThreshold=NEAR, maxIters=500, confidence=0.99
    )
    if placed is None or int(inside.sum()) < LEAST_POINTS:
        return 0.0
    scale = float(np.hypot(placed[0, 0], placed[1, 0]))
    if not SMALLEST <= scale <= LARGEST:
        return 0.0
    height, width = other.grey.shape
    laid = np.asarray(
        cv2.warpAffine(one.grey, placed, (width, height), flags=cv2.INTER_AREA), np.uint8
    )
    covered = np.asarray(
        cv2.warpAffine(
            np.full_like(one.grey, 255), placed, (width, height), flags=cv2.INTER_NEAREST
        ),
        np.uint8,
    )
    between = np.zeros_like(
        other.grey
    )  # the points that both have: a frame around a part of the picture is outside
    cv2.fillConvexPoly(
        between, cv2.convexHull(np.round(there[inside.ravel() == 1]).astype(np.int32)), 255
    )
    smaller = min(other.grey.size, one.grey.size * scale**2)
    return max(agreement(laid, other.grey, part & covered, smaller) for part in (covered, between))


def agreement(one: Image, other: Image, where: Image, whole: float) -> float:
    """Correlation of two pictures in a part of them; 0 where that is a small part of the whole, or shows nothing."""
    inside = where > 0
    if int(inside.sum()) < LEAST_SHARE * whole:
        return 0.0
    soft = [cv2.GaussianBlur(each, (0, 0), 1.5)[inside].astype(np.float32) for each in (one, other)]
    if min(float(each.std()) for each in soft) < LEAST_CONTRAST:
        return 0.0
    return max(0.0, float(np.corrcoef(*soft)[0, 1]))


def same(one: Points, other: Points) -> bool:
    """Whether two pictures are one."""
    return likeness(one, other) >= LEAST_LIKE
