"""Tensors and parameters of the Open Inference Protocol in its gRPC messages.

The messages and stubs are those that tritonclient generated from the protocol. They are imported
with the first use, because most commands need no gRPC.
"""

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from tanuki.errors import UserError
from tanuki.platform.mlops.runtimes import DATATYPES, Array, Arrays
from tanuki.platform.serving import oip_json

Message = Any  # the classes that protobuf generates have no type annotations

CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
"""Fields of typed contents by datatype; FP16 has only raw contents."""


def import_messages() -> ModuleType:
    """The generated messages, `service_pb2`."""
    from tritonclient.grpc import service_pb2

    module: ModuleType = service_pb2
    return module


def import_stubs() -> ModuleType:
    """The generated stub and servicer, `service_pb2_grpc`."""
    from tritonclient.grpc import service_pb2_grpc

    module: ModuleType = service_pb2_grpc
    return module


def add_tensors(tensors: Message, raw_contents: Message, arrays: Arrays) -> None:
    """Add arrays to a message's tensors, their contents raw."""
    for name, array in arrays.items():
        tensors.add(name=name, datatype=oip_json.find_datatype(array), shape=list(array.shape))
        raw_contents.append(oip_json.tensor_bytes(array))


def read_tensors(tensors: Message, raw_contents: Sequence[bytes]) -> dict[str, Array]:
    """The arrays of a message, from raw or typed contents. Raises UserError."""
    if raw_contents and len(raw_contents) != len(tensors):
        raise UserError(
            "The message has %(actual)s raw contents for %(expected)s tensors; expected one each.",
            actual=len(raw_contents),
            expected=len(tensors),
        )
    return {
        tensor.name: read_tensor(tensor, raw_contents[number] if raw_contents else None)
        for number, tensor in enumerate(tensors)
    }


def read_tensor(tensor: Message, content: bytes | None) -> Array:
    """One tensor, from its raw content or, if None, from its typed one. Raises UserError."""
    name, datatype, shape = tensor.name, tensor.datatype, list(tensor.shape)
    if datatype not in DATATYPES:
        raise UserError(
            "The tensor %(name)s has the type %(actual)s; expected one of %(known)s.",
            name=name,
            actual=datatype,
            known=", ".join(DATATYPES),
        )
    if any(length < 0 for length in shape):
        raise UserError(
            "The tensor %(name)s has the shape %(actual)s; expected a list of lengths.",
            name=name,
            actual=shape,
        )
    if content is not None:
        return oip_json.parse_bytes(name, datatype, shape, content)
    if datatype not in CONTENTS:
        raise UserError("The tensor %(name)s has no data.", name=name)
    values = list(getattr(tensor.contents, CONTENTS[datatype]))
    return oip_json.parse_values(name, datatype, shape, values)


def add_parameters(parameters: Message, values: Mapping[str, object]) -> None:
    """Add values to a message's parameters."""
    for name, value in values.items():
        if isinstance(value, bool):
            parameters[name].bool_param = value
        elif isinstance(value, int | np.integer):
            parameters[name].int64_param = int(value)
        elif isinstance(value, float):
            parameters[name].double_param = value
        else:
            parameters[name].string_param = str(value)


def read_parameters(parameters: Message) -> dict[str, Any]:
    """The values of a message's parameters."""
    return {
        name: getattr(parameter, parameter.WhichOneof("parameter_choice") or "string_param")
        for name, parameter in parameters.items()
    }
