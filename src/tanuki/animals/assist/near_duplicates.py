"""Whether two pictures are one: recompressed, scaled, cropped, framed, turned or mirrored.

Keypoints that match must agree on one position of one picture over the other, and the pixels must
correlate there. A hash of the whole picture does not survive a crop or a frame; keypoints alone
find the same logo in two different pictures. bench/animals_assist.py measures both together.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]

COMPARED_SIDE = 320
"""Longest side in pixels of what is compared: that of the size "list"."""
MAX_KEYPOINTS = 400
MAX_DISTANCE_RATIO = 0.8
"""Lowe's ratio test: distance of the best match to that of the second best."""
MIN_MATCHES = 8
"""Keypoints that agree on one position."""
REPROJECTION_PIXELS = 4.0
"""How far from that position a keypoint may be."""
MIN_OVERLAP_SHARE = 0.12
"""Of the smaller picture."""
MIN_CORRELATION = 0.80
"""Of the overlapping pixels; different pictures stay below 0.5."""
MIN_CONTRAST = 2.0
"""Standard deviation of the overlap, of 255: two plain walls correlate with everything."""
MIN_SCALE, MAX_SCALE = 0.3, 3.4
"""Of one picture to the other."""


@dataclass(frozen=True)
class Keypoints:
    """A grey picture with ORB keypoints. positions: [n, 2]. descriptors: [n, 32]."""

    grey: Image
    positions: NDArray[np.float32]
    descriptors: Image


def extract_keypoints(image: Image) -> Keypoints:
    """The keypoints of a picture, RGB or grey."""
    grey = image if image.ndim == 2 else np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))
    scale = COMPARED_SIDE / max(grey.shape)
    if scale != 1:
        size = (max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale)))
        interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        grey = np.asarray(cv2.resize(grey, size, interpolation=interpolation))
    detector = cv2.ORB.create(
        MAX_KEYPOINTS, scaleFactor=1.2, nlevels=8, edgeThreshold=15, patchSize=31, fastThreshold=7
    )
    points, descriptors = detector.detectAndCompute(grey, None)
    if descriptors is None:
        descriptors = np.empty((0, 32), np.uint8)
    return Keypoints(
        np.asarray(grey, np.uint8),
        np.array([point.pt for point in points], np.float32).reshape(-1, 2),
        np.asarray(descriptors, np.uint8),
    )


def mirror(image: Image) -> Image:
    """The mirror image; its keypoints are not those of the picture."""
    return np.ascontiguousarray(image[:, ::-1])


def is_same_picture(one: Keypoints, other: Keypoints) -> bool:
    return measure_overlap(one, other) >= MIN_CORRELATION


def measure_overlap(one: Keypoints, other: Keypoints) -> float:
    """Correlation of two pictures where one lies on the other; 0 if it does not."""
    matches = match_keypoints(one, other)
    if matches is None:
        return 0.0
    source, target = matches
    transform, inliers = cv2.estimateAffinePartial2D(
        source,
        target,
        method=cv2.RANSAC,
        ransacReprojThreshold=REPROJECTION_PIXELS,
        maxIters=500,
        confidence=0.99,
    )
    if transform is None or int(inliers.sum()) < MIN_MATCHES:
        return 0.0
    scale = float(np.hypot(transform[0, 0], transform[1, 0]))
    if not MIN_SCALE <= scale <= MAX_SCALE:
        return 0.0
    height, width = other.grey.shape
    warped = cv2.warpAffine(one.grey, transform, (width, height), flags=cv2.INTER_AREA)
    full = np.full_like(one.grey, 255)
    covered = np.asarray(
        cv2.warpAffine(full, transform, (width, height), flags=cv2.INTER_NEAREST), np.uint8
    )
    # The convex hull of the common keypoints: a frame around the common part is outside.
    hull = np.zeros_like(other.grey)
    common = np.round(target[inliers.ravel() == 1]).astype(np.int32)
    cv2.fillConvexPoly(hull, cv2.convexHull(common), 255)
    smaller = min(other.grey.size, one.grey.size * scale**2)
    return max(
        correlate(np.asarray(warped, np.uint8), other.grey, area & covered, smaller)
        for area in (covered, hull)
    )


def match_keypoints(
    one: Keypoints, other: Keypoints
) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
    """Positions of unambiguous matches in both pictures; None if there are too few."""
    if min(len(one.descriptors), len(other.descriptors)) < MIN_MATCHES:
        return None
    candidates = cv2.BFMatcher(cv2.NORM_HAMMING).knnMatch(one.descriptors, other.descriptors, k=2)
    matches = [
        pair[0]
        for pair in candidates
        if len(pair) == 2 and pair[0].distance < MAX_DISTANCE_RATIO * pair[1].distance
    ]
    if len(matches) < MIN_MATCHES:
        return None
    return (
        one.positions[[match.queryIdx for match in matches]],
        other.positions[[match.trainIdx for match in matches]],
    )


def correlate(one: Image, other: Image, area: Image, size: float) -> float:
    """Correlation of two pictures where `area` is not 0.

    0 if that is a small share of `size` pixels, or has no contrast.
    """
    inside = area > 0
    if int(inside.sum()) < MIN_OVERLAP_SHARE * size:
        return 0.0
    blurred = [
        cv2.GaussianBlur(image, (0, 0), 1.5)[inside].astype(np.float32) for image in (one, other)
    ]
    if min(float(pixels.std()) for pixels in blurred) < MIN_CONTRAST:
        return 0.0
    return max(0.0, float(np.corrcoef(*blurred)[0, 1]))
