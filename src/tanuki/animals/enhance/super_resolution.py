"""A picture twice as large: by waifu2x's network for photos where its weights are installed, otherwise by Lanczos; in tiles, within a time limit."""

import threading
import time
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tanuki.animals.enhance import ncnn_weights, onnx_export
from tanuki.errors import UserError

TILE = 256  # pixels of the small picture; with their margins they need 60 MB
SECONDS = 30.0  # that one picture may take
_one_at_a_time = threading.Lock()  # more would only wait for the same cores


def enlarge(image: NDArray[np.uint8], *, seconds: float = SECONDS) -> NDArray[np.uint8]:
    """An RGB picture twice as large. Raises UserError when it takes longer than it may."""
    network = loaded()
    if network is None:
        return lanczos(image)
    until = time.monotonic() + seconds
    if not _one_at_a_time.acquire(timeout=seconds):
        raise too_long(seconds)
    try:
        return tiled(network, image, until, seconds)
    finally:
        _one_at_a_time.release()


def lanczos(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The same without a network."""
    height, width = image.shape[:2]
    return np.asarray(
        cv2.resize(image, (2 * width, 2 * height), interpolation=cv2.INTER_LANCZOS4), np.uint8
    )


@cache
def loaded() -> Any:
    """The network, ready to run; None where the package is not installed."""
    folder = ncnn_weights.installed()
    if folder is None:
        return None
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        onnx_export.graph(ncnn_weights.layers(folder)), options, providers=["CPUExecutionProvider"]
    )


def tiled(
    network: Any, image: NDArray[np.uint8], until: float, seconds: float
) -> NDArray[np.uint8]:
    """Each tile is seen with the pixels around it that its result depends on, so tiles meet without a seam; beyond the border the last pixels stand again."""
    height, width = image.shape[:2]
    around = np.pad(
        image, ((onnx_export.MARGIN,) * 2, (onnx_export.MARGIN,) * 2, (0, 0)), mode="edge"
    )
    made = np.empty((2 * height, 2 * width, 3), np.uint8)
    for top in range(0, height, TILE):
        for left in range(0, width, TILE):
            if time.monotonic() > until:
                raise too_long(seconds)
            bottom, right = min(top + TILE, height), min(left + TILE, width)
            seen = around[
                top : bottom + 2 * onnx_export.MARGIN, left : right + 2 * onnx_export.MARGIN
            ]
            [made[2 * top : 2 * bottom, 2 * left : 2 * right]] = network.run(
                None, {"image": seen[None]}
            )[0]
    return made


def too_long(seconds: float) -> UserError:
    """What is said when the machine has no time for it."""
    return UserError(
        "Making the picture larger took longer than the %(most)s seconds that it may take; try again later.",
        most=round(seconds),
    )
