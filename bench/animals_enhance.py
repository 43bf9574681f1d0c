"""Quality of photo enhancement on real photos: super-resolution and exposure correction.

    python -m bench.animals_enhance --photos FOLDER [--count 40] [--whole]

A photo is reduced to half its size by area, degraded (JPEG, noise, blur), enlarged again by the
network, by Lanczos and by bicubic interpolation, and compared with the original, in PSNR (dB) and
SSIM. `offered` is the share of photos that the site would enlarge. For exposure, photos are
darkened to a quarter and an eighth of their light, saved, and corrected. The time per megapixel of
the network is measured beside.
"""

import argparse
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from bench.lib.photos import Pixels, add_photos_option, encode_pixels, list_photos, resize_pixels
from bench.lib.reporting import write_results
from bench.lib.timing import time_call
from tanuki.animals.enhance import advice, exposure
from tanuki.animals.enhance.ncnn_weights import MODEL_NAME
from tanuki.animals.enhance.super_resolution import enlarge, enlarge_by_lanczos, load_network

COMPARED_SIDE = 256  # of the middle of a photo; --whole compares all of it
BORDER_PIXELS = 8  # are not compared
SITE_QUALITY = 82
LIGHT_SHARES = (0.25, 0.125)
GAMMA = 2.2
TIMED_SIZE = (300, 400)
ENLARGE_SECONDS = 600.0  # no time limit
REPORTED_PHOTOS = 40  # results of a smaller run are not written
METHODS = ("network", "lanczos", "bicubic")


# ---- degradations --------------------------------------------------------------------------------


def save_and_decode(image: Pixels, quality: int = SITE_QUALITY) -> Pixels:
    """The picture after it was saved as JPEG."""
    return advice.decode_own_jpeg(encode_pixels(image, quality))


def blur(image: Pixels, pixels: float) -> Pixels:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), pixels), np.uint8)


def add_noise(image: Pixels, spread: float) -> Pixels:
    noise = np.random.default_rng(0).normal(0, spread, image.shape)
    return np.asarray(np.clip(image + noise, 0, 255), np.uint8)


def darken(image: Pixels, share: float) -> Pixels:
    """The picture with this share of its light."""
    light = (image / 255.0) ** GAMMA * share
    return np.asarray(np.clip(255 * light ** (1 / GAMMA), 0, 255), np.uint8)


DEGRADATIONS: dict[str, Callable[[Pixels], Pixels]] = {
    "none": lambda image: image,
    "JPEG 82": save_and_decode,
    "JPEG 40, then 82": lambda image: save_and_decode(save_and_decode(image, 40)),
    "noise of 5, JPEG 82": lambda image: save_and_decode(add_noise(image, 5)),
    "noise of 10, JPEG 82": lambda image: save_and_decode(add_noise(image, 10)),
    "blur of 0.6, JPEG 82": lambda image: save_and_decode(blur(image, 0.6)),
    "blur of 0.9, JPEG 82": lambda image: save_and_decode(blur(image, 0.9)),
    "blur of 1.5, JPEG 82": lambda image: save_and_decode(blur(image, 1.5)),
}


# ---- measures ------------------------------------------------------------------------------------


def measure_psnr(image: Pixels, original: Pixels) -> float:
    """Peak signal-to-noise ratio in dB, without the border."""
    inner = (slice(BORDER_PIXELS, -BORDER_PIXELS),) * 2
    difference = image[inner].astype(np.float64) - original[inner]
    return float(10 * np.log10(255**2 / max(float(np.mean(difference**2)), 1e-9)))


def measure_ssim(image: Pixels, original: Pixels) -> float:
    """Structural similarity (Wang and others, 2004) of the grey pictures, without the border."""

    def to_grey(pixels: Pixels) -> NDArray[np.float64]:
        inner = (slice(BORDER_PIXELS, -BORDER_PIXELS),) * 2
        return cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.float64)[inner]

    def smooth(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(cv2.GaussianBlur(values, (11, 11), 1.5), np.float64)

    x, y = to_grey(image), to_grey(original)
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mean_x, mean_y = smooth(x), smooth(y)
    variance_x, variance_y = smooth(x * x) - mean_x**2, smooth(y * y) - mean_y**2
    covariance = smooth(x * y) - mean_x * mean_y
    numerator = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    denominator = (mean_x**2 + mean_y**2 + c1) * (variance_x + variance_y + c2)
    return float(np.mean(numerator / denominator))


def crop_middle(photo: Pixels) -> Pixels:
    top, left = (max(0, (side - COMPARED_SIDE) // 2) for side in photo.shape[:2])
    return np.ascontiguousarray(photo[top : top + COMPARED_SIDE, left : left + COMPARED_SIDE])


def measure_enlarging(degradation: str, photos: list[Pixels]) -> dict[str, Any]:
    """Means over the photos, and the gain over Lanczos where the site offers to enlarge or not."""
    rows = []
    for photo in photos:
        height, width = (side // 2 for side in photo.shape[:2])
        original = photo[: 2 * height, : 2 * width]
        small = DEGRADATIONS[degradation](resize_pixels(original, width, height))
        enlarged = [
            enlarge(small, seconds=ENLARGE_SECONDS),
            enlarge_by_lanczos(small),
            resize_pixels(small, 2 * width, 2 * height),
        ]
        rows.append(
            [
                *(measure_psnr(image, original) for image in enlarged),
                *(measure_ssim(image, original) for image in enlarged),
                float(advice.measure_crispness(small) >= advice.MIN_CRISPNESS),
            ]
        )
    table = np.array(rows)
    columns = (*METHODS, *(f"{method}_ssim" for method in METHODS), "offered")
    means = table.mean(axis=0).round(4).tolist()
    gain, offered = table[:, 0] - table[:, 1], table[:, -1] > 0
    return {
        "degradation": degradation,
        **dict(zip(columns, means, strict=True)),
        "gain_offered": round_mean(gain[offered]),
        "gain_refused": round_mean(gain[~offered]),
    }


def round_mean(values: NDArray[np.float64]) -> float | None:
    return round(float(values.mean()), 3) if len(values) else None


def measure_exposure(share: float, photos: list[Pixels]) -> dict[str, Any]:
    """PSNR of photos with this share of their light, before and after the correction."""
    rows = []
    for photo in photos:
        dark = save_and_decode(darken(photo, share))
        offered = exposure.measure_lightness(dark).is_dark
        corrected = exposure.correct_exposure(dark) if offered else dark
        rows.append([measure_psnr(dark, photo), measure_psnr(corrected, photo), float(offered)])
    dark_db, corrected_db, offered_share = np.array(rows).mean(axis=0).round(3).tolist()
    return {
        "light": share,
        "dark_db": dark_db,
        "corrected_db": corrected_db,
        "offered": offered_share,
    }


def measure_seconds_per_megapixel() -> float:
    """Wall-clock seconds of the network for a megapixel of the small picture."""
    image = np.random.default_rng(1).integers(0, 256, (*TIMED_SIZE, 3)).astype(np.uint8)
    enlarge(image[:64, :64], seconds=ENLARGE_SECONDS)
    _, seconds = time_call(lambda: enlarge(image, seconds=ENLARGE_SECONDS))
    return round(seconds / (TIMED_SIZE[0] * TIMED_SIZE[1]) * 1e6, 2)


# ---- the report ----------------------------------------------------------------------------------


def print_tables(results: dict[str, Any]) -> None:
    print(
        f"{results['photos']} photos, network {results['network']},"
        f" {results['seconds_per_megapixel']} s per megapixel"
    )
    header = ("network", "lanczos", "bicubic", "SSIM", "lanczos", "offered", "gain", "refused")
    print(f"{'half the size, then':24}" + "".join(f"{name:>9}" for name in header))
    for row in results["enlarging"]:
        figures = [f"{row[method]:.2f}" for method in METHODS]
        figures += [f"{row['network_ssim']:.3f}", f"{row['lanczos_ssim']:.3f}"]
        figures.append(f"{row['offered']:.0%}")
        for gain in (row["gain_offered"], row["gain_refused"]):
            figures.append("–" if gain is None else f"{gain:.2f}")
        print(f"{row['degradation']:24}" + "".join(f"{figure:>9}" for figure in figures))
    for row in results["exposure"]:
        print(
            f"light × {row['light']}: {row['dark_db']:.1f} dB dark,"
            f" {row['corrected_db']:.1f} dB corrected, offered for {row['offered']:.0%}"
        )
    print(f"undarkened photos: {results['left_unchanged']:.0%} are left unchanged")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_photos_option(parser)
    parser.add_argument("--count", type=int, default=REPORTED_PHOTOS)
    parser.add_argument("--whole", action="store_true", help="Compare whole photos.")
    options = parser.parse_args()
    files = list_photos(options.photos)
    files = files[3 :: max(1, len(files) // options.count)][: options.count]
    photos = [advice.decode_own_jpeg(file.read_bytes()) for file in files]
    parts = photos if options.whole else [crop_middle(photo) for photo in photos]
    dark = [exposure.measure_lightness(photo).is_dark for photo in photos]
    results = {
        "network": MODEL_NAME if load_network() is not None else None,
        "photos": len(photos),
        "enlarging": [measure_enlarging(name, parts) for name in DEGRADATIONS],
        "exposure": [measure_exposure(share, photos) for share in LIGHT_SHARES],
        "left_unchanged": 1 - sum(dark) / len(photos),
        "seconds_per_megapixel": measure_seconds_per_megapixel(),
    }
    print_tables(results)
    if len(photos) >= REPORTED_PHOTOS:
        write_results("animals_enhance", results)


if __name__ == "__main__":
    main()
