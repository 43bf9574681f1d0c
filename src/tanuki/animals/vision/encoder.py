"""What the eyes see in a picture: an embedding, the likeliest classes, how light and how sharp it is, and a hash that survives being saved again.

The network is the package's EfficientNet-Lite0, or the one that TANUKI_IMAGE_MODEL names; either way a version of the model `animals-image-encoder`.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from tanuki.animals.vision import onnx_export, torch_weights
from tanuki.animals.vision.labels import ANIMALS
from tanuki.animals.vision.onnx_export import (
    CLASSES,
    DIMENSION,
    EMBEDDING,
    INPUT,
    SCORES,
    SIZE,
    Backbone,
)
from tanuki.errors import UserError

Pixels = NDArray[np.uint8]
Arrays = dict[str, NDArray[Any]]

ENCODER_MODEL = "animals-image-encoder"
MOST = 5  # classes that are kept
UNKNOWN = 0.5  # how sure of an animal eyes are that name no classes
INSIDE = 7 / 8  # of the shorter side is looked at: what matters is seldom at the border
MEASURED_SIDE, MEASURED_LONGEST = (
    256,
    1024,
)  # the shorter side, in pixels, at which light and sharpness are measured; the longer one has at most so many
BATCH = 8
HASH_FROM, HASH_SIDE = 32, 8

cv2.setNumThreads(1)  # pictures are looked at beside each other


@dataclass(frozen=True)
class EncoderOutput:
    """What one version of the eyes saw; `classes` are ImageNet's with their shares of certainty, the surest first, none when this version names none."""

    embedding: NDArray[np.float32]  # of length 1
    classes: list[tuple[int, float]]
    animal_score: float  # how sure that an animal is in it
    lightness: float
    sharpness: float
    phash: str
    encoder_version: str = ""  # the version


# ---- the model -----------------------------------------------------------------------------------------------------


def build(into: Path, backbone: Path | None = None) -> dict[str, Any]:
    """Write model.onnx and model.json of a version into a folder; gives what model.json says. Raises UserError for a backbone that cannot be used."""
    if backbone is None:
        made, about, dimension, size = (
            onnx_export.network(torch_weights.read(torch_weights.of_package())),
            onnx_export.NAME,
            DIMENSION,
            SIZE,
        )
    else:
        known = described(backbone)
        try:
            made, dimension = onnx_export.wrapped(backbone, known)
        except onnx_export.FAULTS as why:
            raise UserError(
                "%(file)s cannot be the eyes: %(why)s.",
                file=backbone,
                why=str(why).splitlines()[0][:200],
            ) from None
        about, size = known.name, known.size
    outputs = [
        {"name": each.name, "datatype": "FP32", "shape": [-1, width]}
        for each, width in zip(made.graph.output, (dimension, CLASSES), strict=False)
    ]
    said = {
        "kind": "onnx",
        "max_batch": BATCH,
        "inputs": [{"name": INPUT, "datatype": "UINT8", "shape": [-1, size, size, 3]}],
        "outputs": outputs,
        "name": about,
        "size": size,
        "dimension": dimension,
    }
    into.mkdir(parents=True, exist_ok=True)
    (into / "model.onnx").write_bytes(made.SerializeToString())
    (into / "model.json").write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")
    return said


def described(backbone: Path) -> Backbone:
    """What the model.json beside an ONNX file says of it. Raises UserError."""
    beside = backbone.with_name("model.json")
    try:
        said: dict[str, Any] = json.loads(beside.read_text(encoding="utf-8"))
        return Backbone(
            **said
            | {name: tuple(map(float, said[name])) for name in ("mean", "spread") if name in said}
        )
    except (OSError, ValueError, TypeError) as why:
        fields = ", ".join(Backbone.__dataclass_fields__)
        raise UserError(
            "%(file)s does not describe a backbone (%(why)s); expected JSON with %(known)s.",
            file=beside,
            why=why,
            known=fields,
        ) from None


def fingerprint(backbone: Path | None) -> str:
    """What a version was made from, so that the same is not registered twice."""
    return sha256((backbone or torch_weights.of_package()).read_bytes()).hexdigest()


# ---- a picture -----------------------------------------------------------------------------------------------------


def decoded(jpeg: bytes, least: int = round(SIZE / INSIDE)) -> Pixels:
    """A JPEG as RGB, no larger than needed for its shorter side to have `least` pixels. Raises UserError for what is no JPEG."""
    width, height = size_of(jpeg)
    times = max(n for n in (1, 2, 4, 8) if n == 1 or min(width, height) // n >= least)
    how = {
        1: cv2.IMREAD_COLOR,
        2: cv2.IMREAD_REDUCED_COLOR_2,
        4: cv2.IMREAD_REDUCED_COLOR_4,
        8: cv2.IMREAD_REDUCED_COLOR_8,
    }[times]
    found = cv2.imdecode(np.frombuffer(jpeg, np.uint8), how)
    if found is None:
        raise UserError("The picture cannot be read; expected a whole JPEG.")
    made: Pixels = cv2.cvtColor(found, cv2.COLOR_BGR2RGB)
    return made


def size_of(jpeg: bytes) -> tuple[int, int]:
    """Width and height, from the head of a JPEG."""
    at = 2
    while jpeg[:2] == b"\xff\xd8" and len(jpeg) > at + 9 and jpeg[at] == 0xFF:
        if jpeg[at + 1] in (0xC0, 0xC1, 0xC2):
            return int.from_bytes(jpeg[at + 7 : at + 9], "big"), int.from_bytes(
                jpeg[at + 5 : at + 7], "big"
            )
        at += 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
    raise UserError("The picture cannot be read; expected a whole JPEG.")


def prepared(jpeg: bytes, size: int = SIZE) -> Pixels:
    """A JPEG as the network takes it: the middle of it, square, RGB."""
    return squared(decoded(jpeg, round(size / INSIDE)), size)


def squared(image: Pixels, size: int) -> Pixels:
    """The middle of a picture, square, of a size."""
    height, width = image.shape[:2]
    side = max(1, round(min(height, width) * INSIDE))
    top, left = (height - side) // 2, (width - side) // 2
    return scaled(image[top : top + side, left : left + side], size, size)


def scaled(image: Pixels, width: int, height: int) -> Pixels:
    """A picture of another size."""
    smaller = image.shape[1] >= width and image.shape[0] >= height
    made: Pixels = cv2.resize(
        image, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    )
    return made


def light_of(grey: Pixels) -> float:
    """Mean lightness, 0 to 1."""
    return float(grey.mean()) / 255


def sharp_of(grey: Pixels) -> float:
    """The variance of the Laplacian: small where nothing has an edge."""
    return float(cv2.Laplacian(grey, cv2.CV_32F).var())


def hash_of(grey: Pixels) -> str:
    """A perceptual hash: which of the 64 slowest waves in the picture are stronger than the median one, as 16 hexadecimal digits."""
    waves = cv2.dct(scaled(grey, HASH_FROM, HASH_FROM).astype(np.float32))[
        :HASH_SIDE, :HASH_SIDE
    ].ravel()
    return np.packbits(waves > np.median(waves[1:])).tobytes().hex()


# ---- looking -------------------------------------------------------------------------------------------------------


class Model(Protocol):
    """A version of the eyes: gives outputs by name for inputs by name."""

    def infer(self, inputs: Arrays) -> Arrays: ...


def encode_jpegs(model: Model, jpegs: Sequence[bytes], *, size: int = SIZE) -> list[EncoderOutput]:
    """What is seen in each of some JPEGs. Raises UserError for one that cannot be read, and what the model raises."""
    images = [decoded(jpeg, round(size / INSIDE)) for jpeg in jpegs]
    seen: list[EncoderOutput] = []
    for start in range(0, len(images), BATCH):
        some = images[start : start + BATCH]
        answer = model.infer({INPUT: np.stack([squared(image, size) for image in some])})
        for row, image in enumerate(some):
            seen.append(
                to_encoder_output(
                    image, answer[EMBEDDING][row], answer[SCORES][row] if SCORES in answer else None
                )
            )
    return seen


def to_encoder_output(image: Pixels, embedding: NDArray[np.float32], scores: NDArray[np.float32] | None) -> EncoderOutput:
    """One picture and the model's answer about it as one record."""
    ratio = min(MEASURED_SIDE / min(image.shape[:2]), MEASURED_LONGEST / max(image.shape[:2]))
    width, height = (max(1, round(side * ratio)) for side in (image.shape[1], image.shape[0]))
    grey = scaled(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), width, height)
    classes, animal = [], UNKNOWN
    if scores is not None:
        best = np.argsort(-scores, kind="stable")[:MOST]
        classes, animal = (
            [(int(n), round(float(scores[n]), 4)) for n in best],
            float(min(scores[:ANIMALS].sum(), 1.0)),
        )
    return EncoderOutput(embedding, classes, animal, light_of(grey), sharp_of(grey), hash_of(grey))
