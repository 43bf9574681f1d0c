"""Super-resolution: a picture twice as large, by waifu2x's network or, without it, by Lanczos."""

import threading
import time
from functools import cache
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from tanuki.animals.enhance import ncnn_weights, onnx_export
from tanuki.animals.enhance.onnx_export import MARGIN
from tanuki.errors import UserError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

TILE_SIDE = 256
"""Pixels of the small picture; with its margins a tile needs 60 MB."""
MAX_SECONDS = 30.0
"""For one picture, waiting included."""
_one_at_a_time = threading.Lock()  # a second picture would only wait for the same cores


def enlarge(image: NDArray[np.uint8], *, seconds: float = MAX_SECONDS) -> NDArray[np.uint8]:
    """An RGB picture twice as large. Raises UserError if that takes more than `seconds`."""
    network = load_network()
    if network is None:
        return enlarge_by_lanczos(image)
    deadline = time.monotonic() + seconds
    if not _one_at_a_time.acquire(timeout=seconds):
        raise time_limit_error(seconds)
    try:
        enlarged = enlarge_tiles(network, image, deadline)
    finally:
        _one_at_a_time.release()
    if enlarged is None:
        raise time_limit_error(seconds)
    return enlarged


def enlarge_by_lanczos(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    return np.asarray(
        cv2.resize(image, (2 * width, 2 * height), interpolation=cv2.INTER_LANCZOS4), np.uint8
    )


@cache
def load_network() -> "InferenceSession | None":
    """The network, ready to run; None if its package is not installed."""
    folder = ncnn_weights.find_package_folder()
    if folder is None:
        return None
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    return onnxruntime.InferenceSession(
        onnx_export.export_network(ncnn_weights.load_layers(folder)),
        options,
        providers=["CPUExecutionProvider"],
    )


def enlarge_tiles(
    network: "InferenceSession", image: NDArray[np.uint8], deadline: float
) -> NDArray[np.uint8] | None:
    """The enlarged picture, tile by tile; None if the deadline (monotonic seconds) passes before.

    Each tile is given with the pixels around it that its result depends on, so tiles meet without a
    seam. Beyond the border of the picture its outermost pixels are repeated.
    """
    height, width = image.shape[:2]
    padded = np.pad(image, ((MARGIN, MARGIN), (MARGIN, MARGIN), (0, 0)), mode="edge")
    enlarged = np.empty((2 * height, 2 * width, 3), np.uint8)
    for top in range(0, height, TILE_SIDE):
        for left in range(0, width, TILE_SIDE):
            if time.monotonic() > deadline:
                return None
            bottom, right = min(top + TILE_SIDE, height), min(left + TILE_SIDE, width)
            tile = padded[top : bottom + 2 * MARGIN, left : right + 2 * MARGIN]
            [output] = network.run([onnx_export.LARGE_IMAGE], {onnx_export.SMALL_IMAGE: tile[None]})
            enlarged[2 * top : 2 * bottom, 2 * left : 2 * right] = output[0]
    return enlarged


def time_limit_error(seconds: float) -> UserError:
    return UserError(
        "Making the picture larger took longer than the %(most)s seconds that it may take;"
        " try again later.",
        most=round(seconds),
    )
