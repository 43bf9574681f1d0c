"""The image encoder as an ONNX graph: pictures in, embeddings and ImageNet scores out.

Either EfficientNet-Lite0 from its weights, or another network between the same input and outputs.
EfficientNet-Lite0 is the architecture of Tan and Le (2019) without squeeze-and-excitation and with
ReLU6, as its authors released it. Each batch norm is folded into the convolution before it. The
input is what a decoder gives, bytes of RGB: the scaling is part of the graph, so that no caller can
get it wrong.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import ArrayLike, NDArray
from onnx import (
    ModelProto,
    NodeProto,
    TensorProto,
    ValueInfoProto,
    checker,
    helper,
    load,
    numpy_helper,
)

Weights = Mapping[str, NDArray[Any]]
Attribute = int | float | str | Sequence[int]

INPUT, EMBEDDING, SCORES = "image", "embedding", "scores"
PACKAGE_MODEL_NAME = "efficientnet-lite0"
INPUT_SIDE = 224
IMAGENET_CLASSES = 1000
EMBEDDING_DIMENSION = 256
PIXEL_MEAN, PIXEL_STD = (127.0,) * 3, (128.0,) * 3
BATCH_NORM_EPSILON = 1e-3
BLOCK_STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1)
"""Stride of each block's depthwise convolution."""
ONNX_ERRORS: tuple[type[Exception], ...] = (
    ValueError,
    OSError,
    DecodeError,
    checker.ValidationError,
)
"""What reading a file raises that is not ONNX, or not as described."""
ONNX_OPSET, ONNX_IR_VERSION = 17, 8
"""Model servers have read these since 2022."""


class GraphBuilder:
    """Collects nodes and constants of a graph. Each method returns the name of its result."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []

    def add_node(self, kind: str, *inputs: str, output: str = "", **attributes: Attribute) -> str:
        name = output or f"encoder_{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def add_constant(self, name: str, value: ArrayLike) -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(value, np.float32), name))
        return name

    def add_normalisation(
        self, mean: Sequence[float], std: Sequence[float], output: str = ""
    ) -> str:
        """Bytes with the channels last, as scaled numbers with the channels first."""
        floats = self.add_node("Cast", INPUT, to=TensorProto.FLOAT)
        channels_first = self.add_node("Transpose", floats, perm=[0, 3, 1, 2])
        mean_name = self.add_constant("encoder_mean", np.reshape(mean, (3, 1, 1)))
        std_name = self.add_constant("encoder_std", np.reshape(std, (3, 1, 1)))
        centred = self.add_node("Sub", channels_first, mean_name)
        return self.add_node("Div", centred, std_name, output=output)

    def add_convolution(
        self, x: str, name: str, norm: str, stride: int = 1, *, relu: bool = True
    ) -> str:
        """A convolution with its batch norm folded in, followed by ReLU6 if `relu`."""
        weight, bias = fold_batch_norm(self.weights, name, norm)
        x = self.add_node(
            "Conv",
            x,
            self.add_constant(f"{name}.weight", weight),
            self.add_constant(f"{name}.bias", bias),
            auto_pad="SAME_UPPER",
            strides=[stride, stride],
            kernel_shape=weight.shape[2:],
            group=len(weight) if weight.shape[1] == 1 else 1,
        )
        return self.add_node("Clip", x, "zero", "six") if relu else x

    def add_bottleneck(self, x: str, number: int, stride: int) -> str:
        """A mobile inverted bottleneck: expand, depthwise, project, with a shortcut if it fits."""
        block_input, prefix = x, f"_blocks.{number}."
        expand = self.weights.get(f"{prefix}_expand_conv.weight")
        project = self.weights[f"{prefix}_project_conv.weight"]
        if expand is not None:
            x = self.add_convolution(x, f"{prefix}_expand_conv", f"{prefix}_bn0")
        x = self.add_convolution(x, f"{prefix}_depthwise_conv", f"{prefix}_bn1", stride)
        x = self.add_convolution(x, f"{prefix}_project_conv", f"{prefix}_bn2", relu=False)
        input_channels = project.shape[1] if expand is None else expand.shape[1]
        same_shape = stride == 1 and input_channels == project.shape[0]
        return self.add_node("Add", x, block_input) if same_shape else x

    def to_model(self, name: str, side: int, outputs: Sequence[ValueInfoProto]) -> ModelProto:
        """The finished model, checked."""
        image = helper.make_tensor_value_info(INPUT, TensorProto.UINT8, ["n", side, side, 3])
        model = helper.make_model(
            helper.make_graph(self.nodes, name, [image], outputs, self.constants),
            opset_imports=[helper.make_opsetid("", ONNX_OPSET)],
        )
        model.ir_version = ONNX_IR_VERSION
        checker.check_model(model, full_check=True)
        return model


def fold_batch_norm(
    weights: Weights, name: str, norm: str
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weight and bias of one convolution that equals a convolution and its batch norm."""
    scale = weights[f"{norm}.weight"] / np.sqrt(weights[f"{norm}.running_var"] + BATCH_NORM_EPSILON)
    bias = weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * scale
    weight = weights[f"{name}.weight"] * scale[:, None, None, None]
    return weight.astype(np.float32), bias.astype(np.float32)


def export_efficientnet_lite0(weights: Weights, dimension: int = EMBEDDING_DIMENSION) -> ModelProto:
    """EfficientNet-Lite0 with two outputs: embeddings of `dimension` numbers, and scores."""
    graph = GraphBuilder(weights)
    graph.add_constant("zero", 0.0)
    graph.add_constant("six", 6.0)
    x = graph.add_normalisation(PIXEL_MEAN, PIXEL_STD)
    x = graph.add_convolution(x, "_conv_stem", "_bn0", 2)
    for number, stride in enumerate(BLOCK_STRIDES):
        x = graph.add_bottleneck(x, number, stride)
    x = graph.add_convolution(x, "_conv_head", "_bn1")
    features = graph.add_node("Flatten", graph.add_node("GlobalAveragePool", x), axis=1)
    weight, bias = (
        graph.add_constant(f"_fc.{part}", weights[f"_fc.{part}"]) for part in ("weight", "bias")
    )
    logits = graph.add_node("Gemm", features, weight, bias, transB=1)
    graph.add_node("Softmax", logits, output=SCORES, axis=1)
    projection = graph.add_constant("projection", compute_projection(weights, dimension))
    projected = graph.add_node("MatMul", graph.add_node("Sqrt", features), projection)
    graph.add_node("LpNormalization", projected, output=EMBEDDING, axis=1, p=2)
    return graph.to_model(
        PACKAGE_MODEL_NAME,
        INPUT_SIDE,
        [describe_output(EMBEDDING, dimension), describe_output(SCORES, IMAGENET_CLASSES)],
    )


def compute_projection(weights: Weights, dimension: int) -> NDArray[np.float32]:
    """The directions in feature space by which the classifier tells its classes apart.

    Gives a matrix, features × dimension, the strongest direction first. The directions are the
    right singular vectors of the classifier's centred weights, so no picture is needed to find
    them. The sign of each is chosen so that its largest number is positive. The graph applies them
    to the square roots of the features, so that a few strong features do not decide alone.
    """
    weight = weights["_fc.weight"].astype(np.float64)
    _, _, directions = np.linalg.svd(weight - weight.mean(axis=0), full_matrices=False)
    directions = directions[:dimension]
    largest = directions[np.arange(len(directions)), np.abs(directions).argmax(axis=1)]
    return np.ascontiguousarray((directions * np.sign(largest)[:, None]).T, dtype=np.float32)


def describe_output(name: str, width: int) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", width])


# ---- another network ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Backbone:
    """Description of an ONNX file. It takes pictures with the channels first, scaled to 0 … 1.

    input, features: names of its input and of an output of shape [n, dimension].
    logits: name of an output for ImageNet's 1000 classes in their usual order; empty: it has none.
    size: side of the square that it takes, in pixels.
    mean, std: subtracted from and divided into each channel.
    """

    input: str
    features: str
    size: int = INPUT_SIDE
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    logits: str = ""
    name: str = "another"


def wrap_backbone(file: Path, backbone: Backbone) -> tuple[ModelProto, int]:
    """A network between our own input and outputs, and the dimension of its embeddings.

    Raises ValueError if the file is not as `backbone` says, and other ONNX_ERRORS.
    """
    network = load(str(file))
    widths = check_backbone(network, backbone)
    before, behind = GraphBuilder({}), GraphBuilder({})
    before.add_normalisation(
        [255 * value for value in backbone.mean],
        [255 * value for value in backbone.std],
        output=backbone.input,
    )
    behind.add_node("LpNormalization", backbone.features, output=EMBEDDING, axis=1, p=2)
    outputs = [describe_output(EMBEDDING, widths[backbone.features])]
    if backbone.logits:
        behind.add_node("Softmax", backbone.logits, output=SCORES, axis=1)
        outputs.append(describe_output(SCORES, IMAGENET_CLASSES))
    image = helper.make_tensor_value_info(
        INPUT, TensorProto.UINT8, ["n", backbone.size, backbone.size, 3]
    )
    graph = helper.make_graph(
        [*before.nodes, *network.graph.node, *behind.nodes],
        backbone.name,
        [image],
        outputs,
        [*network.graph.initializer, *before.constants],
    )
    model = helper.make_model(
        graph, opset_imports=network.opset_import, ir_version=network.ir_version
    )
    checker.check_model(model)
    return model, widths[backbone.features]


def check_backbone(network: ModelProto, backbone: Backbone) -> dict[str, int]:
    """The width of each output that `backbone` names. Raises ValueError if one is not as said."""
    inputs = [value.name for value in network.graph.input]
    if backbone.input not in inputs:
        raise ValueError(f"no input {backbone.input} among {', '.join(inputs)}")
    shapes = {
        output.name: [size.dim_value for size in output.type.tensor_type.shape.dim]
        for output in network.graph.output
    }
    widths = {}
    for name in filter(None, (backbone.features, backbone.logits)):
        shape = shapes.get(name, [])
        if len(shape) != 2 or not shape[1]:
            known = ", ".join(f"{output} {size}" for output, size in shapes.items())
            raise ValueError(f"no output {name} of rows of numbers among {known}")
        widths[name] = shape[1]
    if backbone.logits and widths[backbone.logits] != IMAGENET_CLASSES:
        raise ValueError(
            f"{backbone.logits} has {widths[backbone.logits]} classes instead of {IMAGENET_CLASSES}"
        )
    return widths
