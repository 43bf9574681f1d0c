"""The eyes as an ONNX graph, pictures in, embeddings and ImageNet scores out: EfficientNet-Lite0 from its weights, or somebody else's network between our own ends.

The architecture is the one of Tan and Le (2019) without squeeze-and-excitation and with ReLU6, as its authors released it. Batch norms are folded into
the convolutions before them. The input is what a decoder gives, bytes of RGB; the network's own scale is part of the graph, so nobody can get it wrong.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
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

INPUT, EMBEDDING, SCORES = "image", "embedding", "scores"
NAME, SIZE, CLASSES, DIMENSION = "efficientnet-lite0", 224, 1000, 256
MEAN, SPREAD = (127.0,) * 3, (128.0,) * 3
EPSILON = 1e-3  # of the batch norms
STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1)  # of the blocks' depthwise convolutions
FAULTS: tuple[type[Exception], ...] = (
    ValueError,
    OSError,
    DecodeError,
    checker.ValidationError,
)  # of a file that is none, or not as described
OPSET, IR = 17, 8  # what servers read since 2022


class Graph:
    """Nodes and numbers of a graph while it is put together; each method gives the name of what it computes."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self.nodes: list[NodeProto] = []
        self.numbers: list[TensorProto] = []

    def node(self, kind: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """One operation."""
        made = output or f"eyes_{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [made], **attributes))
        return made

    def number(self, name: str, value: Any, dtype: Any = np.float32) -> str:
        """A constant."""
        self.numbers.append(numpy_helper.from_array(np.asarray(value, dtype=dtype), name))
        return name

    def pixels(self, mean: Sequence[float], spread: Sequence[float], output: str = "") -> str:
        """Pictures, as bytes with the channels last, on the network's scale with the channels first."""
        x = self.node(
            "Transpose", self.node("Cast", INPUT, to=TensorProto.FLOAT), perm=[0, 3, 1, 2]
        )
        low, wide = (
            self.number(f"eyes_{n}", np.reshape(each, (3, 1, 1)))
            for n, each in (("mean", mean), ("spread", spread))
        )
        return self.node("Div", self.node("Sub", x, low), wide, output=output)

    def convolution(
        self, x: str, name: str, norm: str, stride: int = 1, *, relu: bool = True
    ) -> str:
        """A convolution with its batch norm folded in, and ReLU6 behind it."""
        weight, bias = folded(self.weights, name, norm)
        how: dict[str, Any] = {
            "strides": [stride, stride],
            "kernel_shape": weight.shape[2:],
            "group": len(weight) if weight.shape[1] == 1 else 1,
        }
        parts = (self.number(f"{name}.weight", weight), self.number(f"{name}.bias", bias))
        x = self.node("Conv", x, *parts, auto_pad="SAME_UPPER", **how)
        return self.node("Clip", x, "zero", "six") if relu else x

    def block(self, x: str, number: int, stride: int) -> str:
        """A mobile inverted bottleneck: wider, depthwise, narrower, and past it when the shape stays."""
        begun, at = x, f"_blocks.{number}."
        wider, narrower = (
            self.weights.get(f"{at}_expand_conv.weight"),
            self.weights[f"{at}_project_conv.weight"],
        )
        if wider is not None:
            x = self.convolution(x, f"{at}_expand_conv", f"{at}_bn0")
        x = self.convolution(x, f"{at}_depthwise_conv", f"{at}_bn1", stride)
        x = self.convolution(x, f"{at}_project_conv", f"{at}_bn2", relu=False)
        comes_in = narrower.shape[1] if wider is None else wider.shape[1]
        return self.node("Add", x, begun) if stride == 1 and comes_in == narrower.shape[0] else x

    def model(self, name: str, size: int, outputs: Sequence[ValueInfoProto]) -> ModelProto:
        """All of it, checked."""
        image = helper.make_tensor_value_info(INPUT, TensorProto.UINT8, ["n", size, size, 3])
        made = helper.make_model(
            helper.make_graph(self.nodes, name, [image], outputs, self.numbers),
            opset_imports=[helper.make_opsetid("", OPSET)],
        )
        made.ir_version = IR
        checker.check_model(made, full_check=True)
        return made


def folded(
    weights: Weights, name: str, norm: str
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A convolution's weights and bias that do what it and the batch norm behind it did."""
    scale = weights[f"{norm}.weight"] / np.sqrt(weights[f"{norm}.running_var"] + EPSILON)
    bias = weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * scale
    return (weights[f"{name}.weight"] * scale[:, None, None, None]).astype(np.float32), bias.astype(
        np.float32
    )


def network(weights: Weights, dimension: int = DIMENSION) -> ModelProto:
    """EfficientNet-Lite0, with embeddings of so many numbers."""
    graph = Graph(weights)
    graph.number("zero", 0.0)
    graph.number("six", 6.0)
    x = graph.convolution(graph.pixels(MEAN, SPREAD), "_conv_stem", "_bn0", 2)
    for number, stride in enumerate(STRIDES):
        x = graph.block(x, number, stride)
    x = graph.convolution(x, "_conv_head", "_bn1")
    features = graph.node("Flatten", graph.node("GlobalAveragePool", x), axis=1)
    weight, bias = (
        graph.number(f"_fc.{part}", weights[f"_fc.{part}"]) for part in ("weight", "bias")
    )
    graph.node(
        "Softmax", graph.node("Gemm", features, weight, bias, transB=1), output=SCORES, axis=1
    )
    projected = graph.node(
        "MatMul",
        graph.node("Sqrt", features),
        graph.number("projection", projection(weights, dimension)),
    )
    graph.node("LpNormalization", projected, output=EMBEDDING, axis=1, p=2)
    return graph.model(NAME, SIZE, [rows(EMBEDDING, dimension), rows(SCORES, CLASSES)])


def projection(weights: Weights, dimension: int) -> NDArray[np.float32]:
    """The directions among the features that the classifier tells its classes apart by, the strongest first (features × dimension).

    They are the right singular vectors of its weights, so no picture is needed to find them; each has its largest number positive. They are applied to
    the square roots of the features, so that a few strong ones do not decide alone.
    """
    weight = weights["_fc.weight"].astype(np.float64)
    found = np.linalg.svd(weight - weight.mean(axis=0), full_matrices=False)[2][:dimension]
    largest = found[np.arange(len(found)), np.abs(found).argmax(axis=1)]
    return np.ascontiguousarray((found * np.sign(largest)[:, None]).T, dtype=np.float32)


def rows(name: str, width: int) -> ValueInfoProto:
    """An output: rows of so many numbers."""
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", width])


# ---- somebody else's network ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Backbone:
    """What is known of an ONNX file: what it takes, and which output is what. It wants pictures with the channels first, of 0 … 1 before mean and spread."""

    input: str
    features: str  # an output of rows of numbers
    size: int = SIZE
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    spread: tuple[float, ...] = (1.0, 1.0, 1.0)
    logits: str = (
        ""  # an output for ImageNet's 1000 classes in their usual order; empty: it names none
    )
    name: str = "another"


def wrapped(file: Path, backbone: Backbone) -> tuple[ModelProto, int]:
    """A network between our own input and outputs, and how many numbers an embedding of it has. Raises ValueError when it is not as `backbone` says."""
    made = load(str(file))
    widths = {
        each.name: [n.dim_value for n in each.type.tensor_type.shape.dim]
        for each in made.graph.output
    }
    if backbone.input not in [each.name for each in made.graph.input]:
        raise ValueError(
            f"no input {backbone.input} among {', '.join(each.name for each in made.graph.input)}"
        )
    for name in filter(None, (backbone.features, backbone.logits)):
        if len(widths.get(name, ())) != 2 or not widths[name][1]:
            raise ValueError(
                f"no output {name} of rows of numbers among {', '.join(f'{name} {width}' for name, width in widths.items())}"
            )
    if backbone.logits and widths[backbone.logits][1] != CLASSES:
        raise ValueError(
            f"{backbone.logits} has {widths[backbone.logits][1]} classes instead of {CLASSES}"
        )
    before, behind = Graph({}), Graph({})
    before.pixels(
        [255 * each for each in backbone.mean],
        [255 * each for each in backbone.spread],
        output=backbone.input,
    )
    behind.node("LpNormalization", backbone.features, output=EMBEDDING, axis=1, p=2)
    outputs = [rows(EMBEDDING, widths[backbone.features][1])]
    if backbone.logits:
        behind.node("Softmax", backbone.logits, output=SCORES, axis=1)
        outputs.append(rows(SCORES, CLASSES))
    nodes = [*before.nodes, *made.graph.node, *behind.nodes]
    image = helper.make_tensor_value_info(
        INPUT, TensorProto.UINT8, ["n", backbone.size, backbone.size, 3]
    )
    graph = helper.make_graph(
        nodes, backbone.name, [image], outputs, [*made.graph.initializer, *before.numbers]
    )
    whole = helper.make_model(graph, opset_imports=made.opset_import, ir_version=made.ir_version)
    checker.check_model(whole)
    return whole, widths[backbone.features][1]
