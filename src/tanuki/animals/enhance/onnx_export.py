"""waifu2x's network as an ONNX graph: pixels in, pixels of a picture twice as large out."""

from collections.abc import Sequence

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from tanuki.animals.enhance.ncnn_weights import Layer
from tanuki.animals.vision.onnx_export import ONNX_IR_VERSION, ONNX_OPSET

MARGIN = 7
"""Pixels that the network removes on each side: six 3 × 3 convolutions, one of the last layer."""
SMALL_IMAGE, LARGE_IMAGE = "image", "image2"


def export_network(layers: Sequence[Layer]) -> bytes:
    """The model, serialised.

    Input `image`: UINT8 [n, h, w, 3], with MARGIN pixels more on each side. Output `image2`: UINT8
    [n, 2 (h - 14), 2 (w - 14), 3].
    """
    constants = [
        numpy_helper.from_array(np.array(value, np.float32), name)
        for name, value in (("white", 255.0), ("low", 0.0), ("high", 255.0))
    ]
    nodes = [
        helper.make_node("Cast", [SMALL_IMAGE], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["numbers", "white"], ["scaled"]),
        helper.make_node("Transpose", ["scaled"], ["0"], perm=[0, 3, 1, 2]),
    ]
    for number, layer in enumerate(layers):
        nodes += export_layer(number, layer)
        weights = (
            layer.weights.transpose(1, 0, 2, 3) if layer.kind == "ConvTranspose" else layer.weights
        )
        constants += [
            numpy_helper.from_array(np.ascontiguousarray(weights), f"w{number}"),
            numpy_helper.from_array(layer.bias, f"b{number}"),
        ]
    nodes += [
        helper.make_node("Transpose", [f"{len(layers)}"], ["back"], perm=[0, 2, 3, 1]),
        helper.make_node("Mul", ["back", "white"], ["wide"]),
        helper.make_node("Round", ["wide"], ["round"]),
        helper.make_node("Clip", ["round", "low", "high"], ["within"]),
        helper.make_node("Cast", ["within"], [LARGE_IMAGE], to=TensorProto.UINT8),
    ]
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "upconv_7_photo",
            [helper.make_tensor_value_info(SMALL_IMAGE, TensorProto.UINT8, ["n", "h", "w", 3])],
            [helper.make_tensor_value_info(LARGE_IMAGE, TensorProto.UINT8, ["n", "h2", "w2", 3])],
            constants,
        ),
        opset_imports=[helper.make_opsetid("", ONNX_OPSET)],
        ir_version=ONNX_IR_VERSION,
    )
    return bytes(model.SerializeToString())


def export_layer(number: int, layer: Layer) -> list[NodeProto]:
    """A convolution from tensor `number` to `number + 1`, with its activation."""
    output = f"{number + 1}" if layer.slope is None else f"c{number}"
    nodes = [
        helper.make_node(
            layer.kind,
            [f"{number}", f"w{number}", f"b{number}"],
            [output],
            strides=[layer.stride] * 2,
            pads=[layer.padding] * 4,
        )
    ]
    if layer.slope is not None:
        nodes.append(helper.make_node("LeakyRelu", [output], [f"{number + 1}"], alpha=layer.slope))
    return nodes
