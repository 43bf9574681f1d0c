"""Real photos for benchmarks: files of a folder, as arrays, and saved as JPEG."""

import argparse
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
"""RGB, height × width × 3."""


def add_photos_option(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """`--photos FOLDER`."""
    parser.add_argument(
        "--photos", type=Path, required=required, metavar="FOLDER", help="A folder of real JPEGs."
    )


def list_photos(folder: Path) -> list[Path]:
    """The JPEG files of a folder, by name. Ends the program if there are none."""
    files = sorted(folder.glob("*.jpg"))
    if not files:
        raise SystemExit(f"The folder {folder} contains no photos (*.jpg).")
    return files


def encode_pixels(image: Pixels, quality: int) -> bytes:
    """A JPEG."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def resize_pixels(image: Pixels, width: int, height: int) -> Pixels:
    """Smaller by area, or larger by bicubic interpolation."""
    smaller = width < image.shape[1]
    interpolation = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, (width, height), interpolation=interpolation), np.uint8)
