"""What better pictures are worth: enlarged by the network beside Lanczos and bicubic, on real photos made small, saved and blurred; darkened ones made lighter; what is refused, and what it costs.

    python bench/animals_better.py [--photos ../shared/data/photos] [--count 40] [--all-sizes]

A photo is made half as large by area, saved as the network saves it (JPEG 82, or not at all), enlarged again and compared with what it was, in PSNR (dB) and SSIM. `offered` is the share that
better/making.py would enlarge. Light: photos are given a quarter or an eighth of their light, saved, and made lighter again.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tanuki.animals.enhance import advice, exposure
from tanuki.animals.enhance.ncnn_weights import MODEL_NAME
from tanuki.animals.enhance.super_resolution import enlarge, enlarge_by_lanczos, load_network

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results" / "animals_better.json"
PHOTOS = ROOT.parent / "shared" / "data" / "photos"
SIDE = 256  # of the middle of a photo that is compared; --all-sizes takes all of it
BORDER = 8  # pixels at the border are not compared
Image = NDArray[np.uint8]


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--photos", type=Path, default=PHOTOS)
    options.add_argument("--count", type=int, default=40)
    options.add_argument("--all-sizes", action="store_true")
    given = options.parse_args()
    files = sorted(given.photos.glob("*.jpg"))
    if not files:
        raise SystemExit(f"no photos in {given.photos}")
    photos = [
        advice.decode_own_jpeg(file.read_bytes())
        for file in files[3 :: max(1, len(files) // given.count)]
    ][: given.count]
    parts = [photo if given.all_sizes else middle(photo) for photo in photos]
    found = {
        "network": MODEL_NAME if load_network() is not None else None,
        "photos": len(photos),
        "enlarging": [enlarging(name, harm, parts) for name, harm in HARMS.items()],
        "light": [lighting(times, photos) for times in (0.25, 0.125)],
        "left_alone": sum(not exposure.measure_lightness(photo).is_dark for photo in photos)
        / len(photos),
        "seconds_megapixel": speed(),
    }
    show(found)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def middle(photo: Image) -> Image:
    """The middle of a photo."""
    top, left = (max(0, (side - SIDE) // 2) for side in photo.shape[:2])
    return np.ascontiguousarray(photo[top : top + SIDE, left : left + SIDE])


def saved(image: Image, quality: int) -> Image:
    """As it comes back from a JPEG."""
    content = cv2.imencode(
        ".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )[1].tobytes()
    return advice.decode_own_jpeg(content)


def blurred(image: Image, pixels: float) -> Image:
    """Out of focus."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), pixels), np.uint8)


def noisy(image: Image, spread: float) -> Image:
    """As from a bad sensor."""
    grain = np.random.default_rng(0).normal(0, spread, image.shape)
    return np.asarray(np.clip(image + grain, 0, 255), np.uint8)


HARMS: dict[str, Callable[[Image], Image]] = {
    "as it is": lambda image: image,
    "saved at 82": lambda image: saved(image, 82),
    "saved at 40, then 82": lambda image: saved(saved(image, 40), 82),
    "noise of 5, 82": lambda image: saved(noisy(image, 5), 82),
    "noise of 10, 82": lambda image: saved(noisy(image, 10), 82),
    "blur of 0.6, 82": lambda image: saved(blurred(image, 0.6), 82),
    "blur of 0.9, 82": lambda image: saved(blurred(image, 0.9), 82),
    "blur of 1.5, 82": lambda image: saved(blurred(image, 1.5), 82),
}


def enlarging(name: str, harm: Callable[[Image], Image], photos: list[Image]) -> dict[str, Any]:
    """Photos made small and harmed, enlarged in three ways; the means, and the gain over Lanczos where it is offered and where it is refused."""
    rows = []
    for photo in photos:
        height, width = (side // 2 for side in photo.shape[:2])
        whole = photo[: 2 * height, : 2 * width]
        small = harm(
            np.asarray(cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
        )
        cubic = np.asarray(
            cv2.resize(small, (2 * width, 2 * height), interpolation=cv2.INTER_CUBIC), np.uint8
        )
        made = [enlarge(small, seconds=600), enlarge_by_lanczos(small), cubic]
        rows.append(
            [
                *(psnr(each, whole) for each in made),
                *(ssim(each, whole) for each in made),
                float(advice.measure_crispness(small) >= advice.MIN_CRISPNESS),
            ]
        )
    table = np.array(rows)
    gain, offered = table[:, 0] - table[:, 1], table[:, 6] > 0
    means = dict(
        zip(
            (
                "network",
                "lanczos",
                "bicubic",
                "network_ssim",
                "lanczos_ssim",
                "bicubic_ssim",
                "offered",
            ),
            table.mean(axis=0).round(4).tolist(),
            strict=True,
        )
    )
    where = {"gain_offered": gain[offered], "gain_refused": gain[~offered]}
    return {
        "harm": name,
        **means,
        **{
            key: round(float(values.mean()), 3) if len(values) else None
            for key, values in where.items()
        },
    }


def lighting(times: float, photos: list[Image]) -> dict[str, Any]:
    """Photos with so much of their light, before and after."""
    rows = []
    for photo in photos:
        dark = saved(
            np.asarray(
                np.clip(255 * ((photo / 255.0) ** 2.2 * times) ** (1 / 2.2), 0, 255), np.uint8
            ),
            82,
        )
        asked = exposure.measure_lightness(dark).is_dark
        rows.append(
            [
                psnr(dark, photo),
                psnr(exposure.correct_exposure(dark) if asked else dark, photo),
                float(asked),
            ]
        )
    dark_db, light_db, offered = np.array(rows).mean(axis=0).round(3).tolist()
    return {"light": times, "dark": dark_db, "lighter": light_db, "offered": offered}


def psnr(one: Image, other: Image) -> float:
    """Similarity in dB."""
    inner = (slice(BORDER, -BORDER),) * 2
    return float(
        10
        * np.log10(
            255**2 / max(float(np.mean((one[inner].astype(np.float64) - other[inner]) ** 2)), 1e-9)
        )
    )


def ssim(one: Image, other: Image) -> float:
    """Similarity of structure (Wang and others, 2004), of the grey pictures."""
    x, y = (
        cv2.cvtColor(each, cv2.COLOR_RGB2GRAY).astype(np.float64)[BORDER:-BORDER, BORDER:-BORDER]
        for each in (one, other)
    )

    def soft(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(cv2.GaussianBlur(values, (11, 11), 1.5), np.float64)

    a, b = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mean_x, mean_y = soft(x), soft(y)
    spread_x, spread_y, both = (
        soft(x * x) - mean_x**2,
        soft(y * y) - mean_y**2,
        soft(x * y) - mean_x * mean_y,
    )
    whole = (
        (2 * mean_x * mean_y + a)
        * (2 * both + b)
        / ((mean_x**2 + mean_y**2 + a) * (spread_x + spread_y + b))
    )
    return float(np.mean(whole))


def speed() -> float:
    """Seconds of the clock for a megapixel of the small picture."""
    image = np.random.default_rng(1).integers(0, 256, (300, 400, 3)).astype(np.uint8)
    enlarge(image[:64, :64], seconds=600)
    begun = time.perf_counter()
    enlarge(image, seconds=600)
    return round(float(time.perf_counter() - begun) / (300 * 400) * 1e6, 2)


def show(found: dict[str, Any]) -> None:
    """The tables."""
    print(
        f"{found['photos']} photos, network {found['network']}, {found['seconds_megapixel']} s a megapixel"
    )
    print(
        f"{'half as large, then':24}{'network':>9}{'lanczos':>9}{'bicubic':>9}{'SSIM':>8}{'lanczos':>9}{'offered':>9}{'gain':>7}{'if refused':>12}"
    )
    for row in found["enlarging"]:
        numbers = f"{row['network']:9.2f}{row['lanczos']:9.2f}{row['bicubic']:9.2f}{row['network_ssim']:8.3f}{row['lanczos_ssim']:9.3f}{row['offered']:9.0%}"
        gains = "".join(
            f"{'–' if row[key] is None else format(row[key], '.2f'):>{wide}}"
            for key, wide in (("gain_offered", 7), ("gain_refused", 12))
        )
        print(f"{row['harm']:24}{numbers}{gains}")
    for row in found["light"]:
        print(
            f"light × {row['light']}: {row['dark']:.1f} dB dark, {row['lighter']:.1f} dB made lighter, offered for {row['offered']:.0%}"
        )
    print(f"photos as they are: {found['left_alone']:.0%} are left alone")


if __name__ == "__main__":
    main()
