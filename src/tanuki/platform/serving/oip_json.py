"""The Open Inference Protocol v2 over HTTP, as bytes: JSON tensors and its extension for binary ones. Both sides use it, and predictions are kept in it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tanuki.errors import UserError
from tanuki.platform.mlops.runtimes import DATATYPES, NAMES, Array, Arrays, Spec, Tensor

LENGTH = "Inference-Header-Content-Length"
EXTENSIONS = ["binary_tensor_data", "model_repository", "statistics", "model_configuration"]
LENGTH_BYTES = 4  # of the number before each element of a BYTES tensor


@dataclass(frozen=True)
class Request:
    """An inference request: tensors by name, its id, parameters such as `person`, and the outputs wanted (none: all), binary or not."""

    inputs: dict[str, Array]
    id: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)
    outputs: dict[str, bool] | None = None  # by name: as binary
    binary: bool = False  # outputs that are not named


def read_request(body: bytes, header: str | None) -> Request:
    """What a request asks; `header` is the length of its JSON part, when binary tensors follow. Raises UserError."""
    told, rest = split(body, header)
    if not isinstance(told.get("inputs"), list):
        raise UserError("The request has no inputs; expected a list of tensors.")
    inputs, at = {}, 0
    for each in told["inputs"]:
        name, array, at = read_tensor(each, rest, at)
        inputs[name] = array
    if at != len(rest):
        raise UserError(
            "The request has %(found)s bytes after its JSON; its tensors need %(wanted)s.",
            found=len(rest),
            wanted=at,
        )
    parameters = told.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise UserError("The request's parameters are not an object of names and values.")
    asked = told.get("outputs")
    if asked is not None and not (
        isinstance(asked, list) and all(isinstance(each, dict) and "name" in each for each in asked)
    ):
        raise UserError("The request's outputs are not a list of objects with a name.")
    binary = bool(parameters.get("binary_data_output", False))
    outputs = (
        None
        if not asked
        else {
            each["name"]: bool((each.get("parameters") or {}).get("binary_data", binary))
            for each in asked
        }
    )
    return Request(inputs, str(told.get("id", "")), parameters, outputs, binary)


def split(body: bytes, header: str | None) -> tuple[dict[str, Any], memoryview]:
    """The JSON part and the bytes after it. Raises UserError."""
    if header is not None and not (header.isdigit() and int(header) <= len(body)):
        raise UserError(
            "%(name)s is %(found)s; expected the length of the JSON part.",
            name=LENGTH,
            found=header,
        )
    length = len(body) if header is None else int(header)
    try:
        told = json.loads(body[:length])
    except ValueError as error:
        raise UserError("The request is not JSON (%(reason)s).", reason=error) from error
    if not isinstance(told, dict):
        raise UserError("The request is not a JSON object.")
    return told, memoryview(body)[length:]


def read_tensor(told: Any, rest: memoryview, at: int) -> tuple[str, Array, int]:
    """A tensor, from its JSON or from the bytes at a place; and the place after it. Raises UserError."""
    if not isinstance(told, dict) or not isinstance(told.get("name"), str):
        raise UserError("A tensor has no name.")
    name, datatype, shape = told["name"], told.get("datatype"), told.get("shape")
    if datatype not in DATATYPES:
        raise UserError(
            "The tensor %(name)s has the type %(found)s; expected one of %(known)s.",
            name=name,
            found=datatype,
            known=", ".join(DATATYPES),
        )
    if not isinstance(shape, list) or not all(isinstance(n, int) and n >= 0 for n in shape):
        raise UserError(
            "The tensor %(name)s has the shape %(found)s; expected a list of lengths.",
            name=name,
            found=shape,
        )
    size = (told.get("parameters") or {}).get("binary_data_size")
    if size is not None:
        if not isinstance(size, int) or at + size > len(rest):
            raise UserError(
                "The tensor %(name)s says that it has %(size)s bytes; %(left)s are left.",
                name=name,
                size=size,
                left=len(rest) - at,
            )
        return name, from_bytes(name, datatype, shape, bytes(rest[at : at + size])), at + size
    if "data" not in told:
        raise UserError("The tensor %(name)s has no data.", name=name)
    return name, from_values(name, datatype, shape, told["data"]), at


def from_values(name: str, datatype: str, shape: Sequence[int], values: Any) -> Array:
    """A tensor from a list of values, nested or flat. Raises UserError."""
    dtype = DATATYPES[datatype]
    try:
        if datatype == "BYTES":
            array = np.array(
                [each.encode() if isinstance(each, str) else each for each in flat(values)], dtype
            )
        else:
            array = np.asarray(values, dtype).ravel()
        return array.reshape(tuple(shape))
    except (ValueError, TypeError, OverflowError) as error:
        raise UserError(
            "The data of the tensor %(name)s are not %(wanted)s (%(reason)s).",
            name=name,
            wanted=f"{datatype} {list(shape)}",
            reason=error,
        ) from error


def flat(values: Any) -> list[Any]:
    """Nested lists as one."""
    return (
        [each for value in values for each in flat(value)] if isinstance(values, list) else [values]
    )


def from_bytes(name: str, datatype: str, shape: Sequence[int], content: bytes) -> Array:
    """A tensor from its bytes, little-endian; elements of BYTES have their length before them. Raises UserError."""
    count = int(np.prod(shape, dtype=np.int64)) if shape else 1
    if datatype == "BYTES":
        found = elements(content)
        if found is None or len(found) != count:
            raise UserError(
                "The bytes of the tensor %(name)s are not %(count)s elements with their lengths.",
                name=name,
                count=count,
            )
        array = np.empty(count, object)
        array[:] = found
        return array.reshape(tuple(shape))
    dtype = DATATYPES[datatype]
    if len(content) != count * dtype.itemsize:
        raise UserError(
            "The tensor %(name)s has %(found)s bytes; %(wanted)s needs %(count)s.",
            name=name,
            found=len(content),
            wanted=f"{datatype} {list(shape)}",
            count=count * dtype.itemsize,
        )
    return (
        np.frombuffer(content, dtype.newbyteorder("<"))
        .astype(dtype, copy=False)
        .reshape(tuple(shape))
    )


def elements(content: bytes) -> list[bytes] | None:
    """The elements of a BYTES tensor; None when the lengths lead beyond the end."""
    found, at = [], 0
    while at < len(content):
        size = int.from_bytes(content[at : at + LENGTH_BYTES], "little")
        at += LENGTH_BYTES
        if at + size > len(content):
            return None
        found.append(content[at : at + size])
        at += size
    return found


def to_bytes(array: Array) -> bytes:
    """A tensor's bytes."""
    if array.dtype.kind in "OSU":
        parts = [each.encode() if isinstance(each, str) else bytes(each) for each in array.ravel()]
        return b"".join(len(part).to_bytes(LENGTH_BYTES, "little") + part for part in parts)
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()


def datatype_of(array: Array) -> str:
    """The protocol's name of an array's type."""
    return "BYTES" if array.dtype.kind in "OSU" else NAMES[array.dtype]


def written(
    arrays: Arrays, binary: Mapping[str, bool], default: bool
) -> tuple[list[dict[str, Any]], list[bytes]]:
    """Tensors as JSON, and the bytes of those that are binary."""
    told, rest = [], []
    for name, array in arrays.items():
        line: dict[str, Any] = {
            "name": name,
            "datatype": datatype_of(array),
            "shape": list(array.shape),
        }
        if binary.get(name, default):
            rest.append(to_bytes(array))
            line["parameters"] = {"binary_data_size": len(rest[-1])}
        elif line["datatype"] == "BYTES":
            line["data"] = [
                each if isinstance(each, str) else bytes(each).decode("utf-8", "replace")
                for each in array.ravel()
            ]
        else:
            line["data"] = array.ravel().tolist()
        told.append(line)
    return told, rest


def write_request(
    inputs: Arrays, *, parameters: Mapping[str, Any] | None = None
) -> tuple[bytes, int]:
    """A request with binary tensors that wants binary outputs; its bytes and the length of its JSON part."""
    told, rest = written(inputs, {}, True)
    head = json.dumps(
        {"inputs": told, "parameters": {"binary_data_output": True, **(parameters or {})}},
        separators=(",", ":"),
    ).encode()
    return b"".join([head, *rest]), len(head)


def write_answer(
    model: str,
    version: str,
    outputs: Arrays,
    asked: Request,
    parameters: Mapping[str, Any] | None = None,
) -> tuple[bytes, int | None]:
    """An answer: its bytes, and the length of its JSON part when binary tensors follow. Raises UserError for an output that is not there."""
    wanted = asked.outputs
    if wanted is not None:
        for name in wanted:
            if name not in outputs:
                raise UserError(
                    "The model %(model)s has no output %(name)s; expected %(known)s.",
                    model=model,
                    name=name,
                    known=", ".join(outputs),
                )
        outputs = {name: outputs[name] for name in wanted}
    told, rest = written(outputs, wanted or {}, asked.binary)
    head: dict[str, Any] = {"model_name": model, "model_version": version, "outputs": told}
    if asked.id:
        head["id"] = asked.id
    if parameters:
        head["parameters"] = dict(parameters)
    content = json.dumps(head, separators=(",", ":")).encode()
    return b"".join([content, *rest]), len(content) if rest else None


def read_answer(body: bytes, header: str | None) -> tuple[dict[str, Any], dict[str, Array]]:
    """An answer's head and tensors. Raises UserError."""
    told, rest = split(body, header)
    outputs, at = {}, 0
    for each in told.get("outputs", []):
        name, array, at = read_tensor(each, rest, at)
        outputs[name] = array
    return told, outputs


def packed(arrays: Arrays) -> bytes:
    """Tensors as bytes that are kept: the length of the JSON part, the JSON, the binary tensors."""
    told, rest = written(arrays, {}, True)
    head = json.dumps(told, separators=(",", ":")).encode()
    return b"".join([len(head).to_bytes(LENGTH_BYTES, "little"), head, *rest])


def unpacked(content: bytes) -> dict[str, Array]:
    """Tensors from bytes that were kept."""
    length = int.from_bytes(content[:LENGTH_BYTES], "little")
    rest, at, found = memoryview(content)[LENGTH_BYTES + length :], 0, {}
    for load in json.loads(content[LENGTH_BYTES : LENGTH_BYTES + length]):
        name, array, at = read_tensor(load, rest, at)
        found[name] = array
    return found


def metadata(model: str, versions: Sequence[str], spec: Spec) -> dict[str, Any]:
    """What a model takes and gives, as the protocol tells it."""

    def told(each: Tensor) -> dict[str, Any]:
        return {"name": each.name, "datatype": each.datatype, "shape": list(each.shape)}

    return {
        "name": model,
        "versions": list(versions),
        "platform": "onnxruntime_onnx" if spec.kind == "onnx" else f"tanuki_{spec.kind}",
        "inputs": [told(each) for each in spec.inputs],
        "outputs": [told(output) for output in spec.outputs],
    }
