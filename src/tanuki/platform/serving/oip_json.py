"""The Open Inference Protocol v2 over HTTP, as bytes: JSON tensors and its binary extension.

Server and client use it, and predictions are kept in it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tanuki.errors import UserError
from tanuki.platform.mlops.runtimes import (
    DATATYPE_NAMES,
    DATATYPES,
    Array,
    Arrays,
    ModelSignature,
    TensorSpec,
)
from tanuki.platform.serving.inference import InferenceAnswer, Metadata

HEADER_LENGTH = "Inference-Header-Content-Length"
EXTENSIONS = ["binary_tensor_data", "model_repository", "statistics", "model_configuration"]
LENGTH_BYTES = 4
"""Bytes of the number before each element of a BYTES tensor, and before packed tensors' JSON."""
Json = Any  # what json.loads gives; checked where it is read


@dataclass(frozen=True)
class InferenceRequest:
    """Tensors by name, an id, parameters such as `person`, and which outputs to give.

    outputs: by name, whether as binary; None: all. binary: of outputs that are not named.
    """

    inputs: dict[str, Array]
    id: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)
    outputs: dict[str, bool] | None = None
    binary: bool = False


def read_request(body: bytes, header_length: str | None) -> InferenceRequest:
    """A request from its body. Raises UserError.

    `header_length`: of the JSON part, where binary tensors follow it.
    """
    content, binary_part = split_body(body, header_length)
    if not isinstance(content.get("inputs"), list):
        raise UserError("The request has no inputs; expected a list of tensors.")
    inputs, end = read_tensors(content["inputs"], binary_part)
    if end != len(binary_part):
        raise UserError(
            "The request has %(actual)s bytes after its JSON; its tensors need %(expected)s.",
            actual=len(binary_part),
            expected=end,
        )
    parameters = content.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise UserError("The request's parameters are not an object of names and values.")
    outputs = content.get("outputs")
    if outputs is not None and not (
        isinstance(outputs, list)
        and all(isinstance(output, dict) and "name" in output for output in outputs)
    ):
        raise UserError("The request's outputs are not a list of objects with a name.")
    binary = bool(parameters.get("binary_data_output", False))
    requested = {
        output["name"]: bool((output.get("parameters") or {}).get("binary_data", binary))
        for output in outputs or []
    }
    return InferenceRequest(
        inputs, str(content.get("id", "")), parameters, requested or None, binary
    )


def split_body(body: bytes, header_length: str | None) -> tuple[dict[str, Any], memoryview]:
    """The JSON part and the bytes after it. Raises UserError."""
    if header_length is not None and not (
        header_length.isdigit() and int(header_length) <= len(body)
    ):
        raise UserError(
            "%(name)s is %(actual)s; expected the length of the JSON part.",
            name=HEADER_LENGTH,
            actual=header_length,
        )
    length = len(body) if header_length is None else int(header_length)
    try:
        content = json.loads(body[:length])
    except ValueError as error:
        raise UserError("The request is not JSON (%(reason)s).", reason=error) from error
    if not isinstance(content, dict):
        raise UserError("The request is not a JSON object.")
    return content, memoryview(body)[length:]


def read_tensors(
    descriptions: Sequence[Json], binary_part: memoryview
) -> tuple[dict[str, Array], int]:
    """Tensors by name, and where the last one ends in the binary part. Raises UserError."""
    tensors, position = {}, 0
    for description in descriptions:
        name, array, position = read_tensor(description, binary_part, position)
        tensors[name] = array
    return tensors, position


def read_tensor(
    description: Json, binary_part: memoryview, position: int
) -> tuple[str, Array, int]:
    """A tensor's name, its array from JSON or from the bytes at a position, and its end there.

    Raises UserError.
    """
    if not isinstance(description, dict) or not isinstance(description.get("name"), str):
        raise UserError("A tensor has no name.")
    name = description["name"]
    datatype, shape = description.get("datatype"), description.get("shape")
    if datatype not in DATATYPES:
        raise UserError(
            "The tensor %(name)s has the type %(actual)s; expected one of %(known)s.",
            name=name,
            actual=datatype,
            known=", ".join(DATATYPES),
        )
    if not isinstance(shape, list) or not all(isinstance(n, int) and n >= 0 for n in shape):
        raise UserError(
            "The tensor %(name)s has the shape %(actual)s; expected a list of lengths.",
            name=name,
            actual=shape,
        )
    size = (description.get("parameters") or {}).get("binary_data_size")
    if size is not None:
        if not isinstance(size, int) or position + size > len(binary_part):
            raise UserError(
                "The tensor %(name)s should have %(size)s bytes; %(left)s are left.",
                name=name,
                size=size,
                left=len(binary_part) - position,
            )
        end = position + size
        return name, parse_bytes(name, datatype, shape, bytes(binary_part[position:end])), end
    if "data" not in description:
        raise UserError("The tensor %(name)s has no data.", name=name)
    return name, parse_values(name, datatype, shape, description["data"]), position


def parse_values(name: str, datatype: str, shape: Sequence[int], values: Json) -> Array:
    """A tensor from a list of values, nested or flat. Raises UserError."""
    dtype = DATATYPES[datatype]
    try:
        if datatype == "BYTES":
            elements = [
                value.encode() if isinstance(value, str) else value for value in flatten(values)
            ]
            array = np.array(elements, dtype)
        else:
            array = np.asarray(values, dtype).ravel()
        return array.reshape(tuple(shape))
    except (ValueError, TypeError, OverflowError) as error:
        raise UserError(
            "The data of the tensor %(name)s are not %(expected)s (%(reason)s).",
            name=name,
            expected=f"{datatype} {list(shape)}",
            reason=error,
        ) from error


def flatten(values: Json) -> list[Json]:
    """Nested lists as one."""
    if not isinstance(values, list):
        return [values]
    return [element for value in values for element in flatten(value)]


def parse_bytes(name: str, datatype: str, shape: Sequence[int], content: bytes) -> Array:
    """A tensor from little-endian bytes; each element of BYTES has its length before it.

    Raises UserError.
    """
    count = int(np.prod(shape, dtype=np.int64)) if shape else 1
    if datatype == "BYTES":
        elements = split_elements(content)
        if elements is None or len(elements) != count:
            raise UserError(
                "The bytes of the tensor %(name)s are not %(count)s elements with their lengths.",
                name=name,
                count=count,
            )
        array = np.empty(count, object)
        array[:] = elements
        return array.reshape(tuple(shape))
    dtype = DATATYPES[datatype]
    if len(content) != count * dtype.itemsize:
        raise UserError(
            "The tensor %(name)s has %(actual)s bytes; %(expected)s needs %(count)s.",
            name=name,
            actual=len(content),
            expected=f"{datatype} {list(shape)}",
            count=count * dtype.itemsize,
        )
    values = np.frombuffer(content, dtype.newbyteorder("<"))
    return values.astype(dtype, copy=False).reshape(tuple(shape))


def split_elements(content: bytes) -> list[bytes] | None:
    """The elements of a BYTES tensor; None when the lengths lead beyond the end."""
    elements, position = [], 0
    while position < len(content):
        start = position + LENGTH_BYTES
        position = start + int.from_bytes(content[position:start], "little")
        if position > len(content):
            return None
        elements.append(content[start:position])
    return elements


def tensor_bytes(array: Array) -> bytes:
    """A tensor's bytes, as `parse_bytes` reads them."""
    if array.dtype.kind in "OSU":
        elements = [
            value.encode() if isinstance(value, str) else bytes(value) for value in array.ravel()
        ]
        return b"".join(
            len(element).to_bytes(LENGTH_BYTES, "little") + element for element in elements
        )
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()


def find_datatype(array: Array) -> str:
    """The protocol's name of an array's type."""
    return "BYTES" if array.dtype.kind in "OSU" else DATATYPE_NAMES[array.dtype]


def write_tensors(
    arrays: Arrays, binary: Mapping[str, bool], default: bool
) -> tuple[list[dict[str, Any]], list[bytes]]:
    """Descriptions of tensors, with their data if not binary, and the bytes of binary ones.

    `binary`: by name; `default` of the others.
    """
    descriptions, contents = [], []
    for name, array in arrays.items():
        datatype = find_datatype(array)
        description: dict[str, Any] = {
            "name": name,
            "datatype": datatype,
            "shape": list(array.shape),
        }
        if binary.get(name, default):
            contents.append(tensor_bytes(array))
            description["parameters"] = {"binary_data_size": len(contents[-1])}
        elif datatype == "BYTES":
            description["data"] = [
                value if isinstance(value, str) else bytes(value).decode("utf-8", "replace")
                for value in array.ravel()
            ]
        else:
            description["data"] = array.ravel().tolist()
        descriptions.append(description)
    return descriptions, contents


def write_request(
    inputs: Arrays, *, parameters: Mapping[str, Any] | None = None
) -> tuple[bytes, int]:
    """A request with binary tensors, also as outputs; its bytes and the length of its JSON."""
    descriptions, contents = write_tensors(inputs, {}, True)
    head = json.dumps(
        {"inputs": descriptions, "parameters": {"binary_data_output": True, **(parameters or {})}},
        separators=(",", ":"),
    ).encode()
    return b"".join([head, *contents]), len(head)


def write_response(
    model: str, answer: InferenceAnswer, request: InferenceRequest
) -> tuple[bytes, int | None]:
    """A response: its bytes, and the length of its JSON part when binary tensors follow."""
    descriptions, contents = write_tensors(answer.outputs, request.outputs or {}, request.binary)
    head: dict[str, Any] = {
        "model_name": model,
        "model_version": answer.version,
        "outputs": descriptions,
        "parameters": {"served_as": answer.served_as},
    }
    if request.id:
        head["id"] = request.id
    content = json.dumps(head, separators=(",", ":")).encode()
    return b"".join([content, *contents]), len(content) if contents else None


def read_response(body: bytes, header_length: str | None) -> InferenceAnswer:
    """An answer from a response's body. Raises UserError."""
    content, binary_part = split_body(body, header_length)
    outputs, _ = read_tensors(content.get("outputs", []), binary_part)
    parameters = content.get("parameters") or {}
    return InferenceAnswer(
        outputs,
        str(content.get("model_version", "")),
        str(parameters.get("served_as", "champion")),
    )


def pack_tensors(arrays: Arrays) -> bytes:
    """Tensors as bytes to store: the length of the JSON part, the JSON, the binary tensors."""
    descriptions, contents = write_tensors(arrays, {}, True)
    head = json.dumps(descriptions, separators=(",", ":")).encode()
    return b"".join([len(head).to_bytes(LENGTH_BYTES, "little"), head, *contents])


def unpack_tensors(content: bytes) -> dict[str, Array]:
    """Tensors from stored bytes."""
    end = LENGTH_BYTES + int.from_bytes(content[:LENGTH_BYTES], "little")
    return read_tensors(json.loads(content[LENGTH_BYTES:end]), memoryview(content)[end:])[0]


def platform_name(signature: ModelSignature) -> str:
    """What the protocol calls a platform."""
    return "onnxruntime_onnx" if signature.kind == "onnx" else f"tanuki_{signature.kind}"


def describe_signature(model: str, versions: Sequence[str], signature: ModelSignature) -> Metadata:
    """A model's versions, inputs and outputs, as the protocol describes them."""

    def describe_tensor(tensor: TensorSpec) -> dict[str, Any]:
        return {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}

    return {
        "name": model,
        "versions": list(versions),
        "platform": platform_name(signature),
        "inputs": [describe_tensor(tensor) for tensor in signature.inputs],
        "outputs": [describe_tensor(tensor) for tensor in signature.outputs],
    }
