"""The image encoder: from a JPEG to an embedding, classes, lightness, sharpness and a hash.

The image model is the package's EfficientNet-Lite0, or the ONNX file that TANUKI_IMAGE_MODEL names.
Either is registered as a version of the model `animals-image-encoder`.
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
from tanuki.animals.vision.labels import ANIMAL_CLASSES
from tanuki.animals.vision.onnx_export import (
    EMBEDDING,
    EMBEDDING_DIMENSION,
    IMAGENET_CLASSES,
    INPUT,
    INPUT_SIDE,
    SCORES,
    Backbone,
)
from tanuki.errors import UserError

Pixels = NDArray[np.uint8]
Arrays = dict[str, NDArray[Any]]

ENCODER_MODEL = "animals-image-encoder"
CLASSES_PER_IMAGE = 5
# Of an encoder that gives no classes: it does not know whether an animal is in the picture.
ANIMAL_SCORE_WITHOUT_CLASSES = 0.5
# Of the shorter side, for the square that the encoder gets: the subject is seldom at the border.
CENTER_CROP_SHARE = 7 / 8
# The shorter side, in pixels, at which lightness and sharpness are measured, and the longest
# that the longer one may then be.
MEASURED_SHORT_SIDE, MAX_MEASURED_LONG_SIDE = 256, 1024
IMAGES_PER_BATCH = 8
PHASH_IMAGE_SIDE, PHASH_SIDE = 32, 8

cv2.setNumThreads(1)  # several pictures are encoded at the same time, one thread each


@dataclass(frozen=True)
class EncoderOutput:
    """What one encoder version gives for a picture, with what is measured beside it.

    embedding: float32, of length 1.
    classes: ImageNet class and probability, the most probable first; empty if this version gives
    no classes.
    animal_score: probability that an animal is in the picture.
    lightness: mean, 0 to 1. sharpness: variance of the Laplacian.
    phash: perceptual hash, 16 hexadecimal digits.
    """

    embedding: NDArray[np.float32]
    classes: list[tuple[int, float]]
    animal_score: float
    lightness: float
    sharpness: float
    phash: str
    encoder_version: str = ""


# ---- the model ---------------------------------------------------------------------------------


def build_encoder(folder: Path, backbone: Path | None = None) -> dict[str, Any]:
    """Write model.onnx and model.json of a version into `folder`; gives what model.json says.

    `backbone`: an ONNX file with its description beside it; None for the package's network.
    Raises UserError for one that cannot be used.
    """
    if backbone is None:
        weights = torch_weights.load_weights(torch_weights.find_package_weights())
        model = onnx_export.export_efficientnet_lite0(weights)
        name, dimension, side = (
            onnx_export.PACKAGE_MODEL_NAME,
            EMBEDDING_DIMENSION,
            INPUT_SIDE,
        )
    else:
        description = read_backbone_description(backbone)
        try:
            model, dimension = onnx_export.wrap_backbone(backbone, description)
        except onnx_export.ONNX_ERRORS as error:
            raise UserError(
                "%(file)s is not a usable image model: %(why)s.",
                file=backbone,
                why=str(error).splitlines()[0][:200],
            ) from None
        name, side = description.name, description.size
    outputs = [
        {"name": output.name, "datatype": "FP32", "shape": [-1, width]}
        for output, width in zip(model.graph.output, (dimension, IMAGENET_CLASSES), strict=False)
    ]
    metadata = {
        "kind": "onnx",
        "max_batch": IMAGES_PER_BATCH,
        "inputs": [{"name": INPUT, "datatype": "UINT8", "shape": [-1, side, side, 3]}],
        "outputs": outputs,
        "name": name,
        "size": side,
        "dimension": dimension,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    (folder / "model.json").write_text(json.dumps(metadata, indent=1) + "\n", encoding="utf-8")
    return metadata


def read_backbone_description(backbone: Path) -> Backbone:
    """The model.json beside an ONNX file. Raises UserError."""
    file = backbone.with_name("model.json")
    try:
        fields: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        scales: dict[str, Any] = {
            name: tuple(map(float, fields[name])) for name in ("mean", "std") if name in fields
        }
        return Backbone(**{**fields, **scales})
    except (OSError, ValueError, TypeError) as error:
        raise UserError(
            "%(file)s does not describe an image model (%(why)s); expected JSON with %(known)s.",
            file=file,
            why=error,
            known=", ".join(Backbone.__dataclass_fields__),
        ) from None


def fingerprint_weights(backbone: Path | None) -> str:
    """SHA-256 of the file that a version is made from, so that it is registered only once."""
    return sha256((backbone or torch_weights.find_package_weights()).read_bytes()).hexdigest()


# ---- pictures ----------------------------------------------------------------------------------


def decode_jpeg(jpeg: bytes, min_side: int = round(INPUT_SIDE / CENTER_CROP_SHARE)) -> Pixels:
    """A JPEG as RGB, reduced as far as its shorter side keeps `min_side` pixels.

    Raises UserError if the bytes are not a whole JPEG.
    """
    width, height = read_jpeg_size(jpeg)
    reduction = max(n for n in (1, 2, 4, 8) if n == 1 or min(width, height) // n >= min_side)
    flag = {
        1: cv2.IMREAD_COLOR,
        2: cv2.IMREAD_REDUCED_COLOR_2,
        4: cv2.IMREAD_REDUCED_COLOR_4,
        8: cv2.IMREAD_REDUCED_COLOR_8,
    }[reduction]
    bgr = cv2.imdecode(np.frombuffer(jpeg, np.uint8), flag)
    if bgr is None:
        raise UserError("The picture cannot be read; expected a whole JPEG.")
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def read_jpeg_size(jpeg: bytes) -> tuple[int, int]:
    """Width and height from a JPEG's header. Raises UserError."""
    position = 2
    while jpeg[:2] == b"\xff\xd8" and len(jpeg) > position + 9 and jpeg[position] == 0xFF:
        length = int.from_bytes(jpeg[position + 2 : position + 4], "big")
        if jpeg[position + 1] in (0xC0, 0xC1, 0xC2):  # start of frame
            height = int.from_bytes(jpeg[position + 5 : position + 7], "big")
            width = int.from_bytes(jpeg[position + 7 : position + 9], "big")
            return width, height
        position += 2 + length
    raise UserError("The picture cannot be read; expected a whole JPEG.")


def prepare_image(jpeg: bytes, side: int = INPUT_SIDE) -> Pixels:
    """A JPEG as the encoder takes it: the square in its middle, RGB, `side` pixels wide."""
    return crop_center(decode_jpeg(jpeg, round(side / CENTER_CROP_SHARE)), side)


def crop_center(image: Pixels, side: int) -> Pixels:
    height, width = image.shape[:2]
    cropped = max(1, round(min(height, width) * CENTER_CROP_SHARE))
    top, left = (height - cropped) // 2, (width - cropped) // 2
    return resize_image(image[top : top + cropped, left : left + cropped], side, side)


def resize_image(image: Pixels, width: int, height: int) -> Pixels:
    shrinks = image.shape[1] >= width and image.shape[0] >= height
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, (width, height), interpolation=interpolation), np.uint8)


def measure_lightness(grey: Pixels) -> float:
    """Mean lightness, 0 to 1."""
    return float(grey.mean()) / 255


def measure_sharpness(grey: Pixels) -> float:
    """Variance of the Laplacian: small for a picture without edges."""
    return float(cv2.Laplacian(grey, cv2.CV_32F).var())


def compute_phash(grey: Pixels) -> str:
    """Perceptual hash of a grey picture, 16 hexadecimal digits.

    A bit is set where one of the 64 lowest frequencies of the cosine transform is above their
    median. It is `imagehash.phash` on a picture that OpenCV has reduced instead of Pillow.
    """
    reduced = resize_image(grey, PHASH_IMAGE_SIDE, PHASH_IMAGE_SIDE).astype(np.float32)
    frequencies = cv2.dct(reduced)[:PHASH_SIDE, :PHASH_SIDE].ravel()
    return np.packbits(frequencies > np.median(frequencies[1:])).tobytes().hex()


# ---- encoding ----------------------------------------------------------------------------------


class Encoder(Protocol):
    """A version of the encoder, in this process or on a model server: arrays by name."""

    def infer(self, inputs: Arrays) -> Arrays: ...


def encode_jpegs(
    encoder: Encoder, jpegs: Sequence[bytes], *, side: int = INPUT_SIDE
) -> list[EncoderOutput]:
    """The output for each JPEG; `side` is the width of the square that the encoder takes.

    Raises UserError for a JPEG that cannot be read, and what the encoder raises.
    """
    images = [decode_jpeg(jpeg, round(side / CENTER_CROP_SHARE)) for jpeg in jpegs]
    outputs: list[EncoderOutput] = []
    for start in range(0, len(images), IMAGES_PER_BATCH):
        batch = images[start : start + IMAGES_PER_BATCH]
        answer = encoder.infer({INPUT: np.stack([crop_center(image, side) for image in batch])})
        for row, image in enumerate(batch):
            scores = answer[SCORES][row] if SCORES in answer else None
            outputs.append(to_encoder_output(image, answer[EMBEDDING][row], scores))
    return outputs


def to_encoder_output(
    image: Pixels, embedding: NDArray[np.float32], scores: NDArray[np.float32] | None
) -> EncoderOutput:
    """One picture's row of the encoder's answer, with what is measured of the picture."""
    height, width = image.shape[:2]
    scale = min(
        MEASURED_SHORT_SIDE / min(height, width), MAX_MEASURED_LONG_SIDE / max(height, width)
    )
    grey = resize_image(
        np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8),
        max(1, round(width * scale)),
        max(1, round(height * scale)),
    )
    classes: list[tuple[int, float]] = []
    animal_score = ANIMAL_SCORE_WITHOUT_CLASSES
    if scores is not None:
        likeliest = np.argsort(-scores, kind="stable")[:CLASSES_PER_IMAGE]
        classes = [(int(number), round(float(scores[number]), 4)) for number in likeliest]
        animal_score = float(min(scores[:ANIMAL_CLASSES].sum(), 1.0))
    return EncoderOutput(
        embedding,
        classes,
        animal_score,
        measure_lightness(grey),
        measure_sharpness(grey),
        compute_phash(grey),
    )
