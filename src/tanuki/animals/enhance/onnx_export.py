"""waifu2x's network as an ONNX graph of our own: pixels in, pixels of a picture twice as large out."""

from collections.abc import Sequence

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from tanuki.animals.enhance.ncnn_weights import Layer

OPSET, IR = 17, 8
MARGIN = 7  # what the network takes away on each side of its input, in pixels: six convolutions of 3 × 3 and one pixel of the last layer


def graph(layers: Sequence[Layer]) -> bytes:
    """The model, serialised. Input `image` UINT8 [n, h, w, 3] with MARGIN pixels more on each side; output `image2` UINT8 [n, 2 (h - 14), 2 (w - 14), 3]."""
    made = [
        helper.make_node("Cast", ["image"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["numbers", "white"], ["scaled"]),
        helper.make_node("Transpose", ["scaled"], ["0"], perm=[0, 3, 1, 2]),
    ]
    known = [numpy_helper.from_array(np.array(255.0, np.float32), "white")]
    for number, layer in enumerate(layers):
        turned = (
            layer.weights.transpose(1, 0, 2, 3) if layer.kind == "ConvTranspose" else layer.weights
        )
        known += [
            numpy_helper.from_array(np.ascontiguousarray(turned), f"w{number}"),
            numpy_helper.from_array(layer.bias, f"b{number}"),
        ]
        how = {"strides": [layer.stride] * 2, "pads": [layer.padding] * 4}
        out = f"{number + 1}" if layer.slope is None else f"c{number}"
        made.append(
            helper.make_node(layer.kind, [f"{number}", f"w{number}", f"b{number}"], [out], **how)
        )
        if layer.slope is not None:
            made.append(helper.make_node("LeakyRelu", [out], [f"{number + 1}"], alpha=layer.slope))
    known += [
        numpy_helper.from_array(np.array(value, np.float32), name)
        for name, value in (("low", 0.0), ("high", 255.0))
    ]
    made += [
        helper.make_node("Transpose", [f"{len(layers)}"], ["back"], perm=[0, 2, 3, 1]),
        helper.make_node("Mul", ["back", "white"], ["wide"]),
        helper.make_node("Round", ["wide"], ["round"]),
        helper.make_node("Clip", ["round", "low", "high"], ["within"]),
        helper.make_node("Cast", ["within"], ["image2"], to=TensorProto.UINT8),
    ]
    asked = helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", "h", "w", 3])
    given = helper.make_tensor_value_info("image2", TensorProto.UINT8, ["n", "h2", "w2", 3])
    whole = helper.make_model(
        helper.make_graph(made, "upconv_7_photo", [asked], [given], known),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR,
    )
    return bytes(whole.SerializeToString())
