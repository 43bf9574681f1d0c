"""The protocol's gRPC messages, built from a table of names and numbers, which are facts of the protocol: there is no generated code.

They live in a pool of their own, so that another library's copy of the same messages does not collide with them.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

from tanuki.errors import UserError
from tanuki.platform.mlops.runtimes import DATATYPES, Array, Arrays
from tanuki.platform.serving import oip_json

PACKAGE = "inference"
SERVICE = "inference.GRPCInferenceService"
METHODS = (
    "ServerLive",
    "ServerReady",
    "ServerMetadata",
    "ModelReady",
    "ModelMetadata",
    "ModelInfer",
    "ModelConfig",
    "ModelStatistics",
    "RepositoryIndex",
)
TENSOR = "name:1 string, datatype:2 string, shape:3 int64*"
PARAMETERS = "map InferParameter"
NAMED = "name:1 string, version:2 string"
MESSAGES = {  # field:number type, `*` for many; a type with a capital is another message
    "ServerLiveRequest": "",
    "ServerLiveResponse": "live:1 bool",
    "ServerReadyRequest": "",
    "ServerReadyResponse": "ready:1 bool",
    "ServerMetadataRequest": "",
    "ServerMetadataResponse": "name:1 string, version:2 string, extensions:3 string*",
    "ModelReadyRequest": NAMED,
    "ModelReadyResponse": "ready:1 bool",
    "ModelMetadataRequest": NAMED,
    "ModelMetadataResponse": "name:1 string, versions:2 string*, platform:3 string, inputs:4 TensorMetadata*, outputs:5 TensorMetadata*",
    "TensorMetadata": TENSOR,
    "InferParameter": "bool_param:1 bool, int64_param:2 int64, string_param:3 string, double_param:4 double, uint64_param:5 uint64",
    "InferTensorContents": "bool_contents:1 bool*, int_contents:2 int32*, int64_contents:3 int64*, uint_contents:4 uint32*, uint64_contents:5 uint64*, fp32_contents:6 float*, fp64_contents:7 double*, bytes_contents:8 bytes*",
    "InferTensor": f"{TENSOR}, parameters:4 {PARAMETERS}, contents:5 InferTensorContents",
    "InferRequestedOutputTensor": f"name:1 string, parameters:2 {PARAMETERS}",
    "ModelInferRequest": f"model_name:1 string, model_version:2 string, id:3 string, parameters:4 {PARAMETERS}, inputs:5 InferTensor*, outputs:6 InferRequestedOutputTensor*, raw_input_contents:7 bytes*",
    "ModelInferResponse": f"model_name:1 string, model_version:2 string, id:3 string, parameters:4 {PARAMETERS}, outputs:5 InferTensor*, raw_output_contents:6 bytes*",
    "ModelConfigRequest": NAMED,
    "ModelConfigResponse": "config:1 ModelConfig",
    "ModelConfig": "name:1 string, platform:2 string, max_batch_size:4 int32, input:5 ModelInput*, output:6 ModelOutput*, backend:17 string",
    "ModelInput": "name:1 string, data_type:2 int32, dims:4 int64*",
    "ModelOutput": "name:1 string, data_type:2 int32, dims:3 int64*",
    "ModelStatisticsRequest": NAMED,
    "ModelStatisticsResponse": "model_stats:1 ModelStatistics*",
    "ModelStatistics": f"{NAMED}, last_inference:3 uint64, inference_count:4 uint64, execution_count:5 uint64, inference_stats:6 InferStatistics",
    "InferStatistics": "success:1 StatisticDuration, fail:2 StatisticDuration, queue:3 StatisticDuration, compute_input:4 StatisticDuration, compute_infer:5 StatisticDuration, compute_output:6 StatisticDuration",
    "StatisticDuration": "count:1 uint64, ns:2 uint64",
    "RepositoryIndexRequest": "repository_name:1 string, ready:2 bool",
    "RepositoryIndexResponse": "models:1 ModelIndex*",
    "ModelIndex": f"{NAMED}, state:3 string, reason:4 string",
}
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
NUMBERED = (
    "BOOL",
    "UINT8",
    "UINT16",
    "UINT32",
    "UINT64",
    "INT8",
    "INT16",
    "INT32",
    "INT64",
    "FP16",
    "FP32",
    "FP64",
    "BYTES",
)  # from 1, in ModelConfig


@cache
def pool() -> dict[str, Any]:
    """Every message's class, by name."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    scalar = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="tanuki/inference.proto", package=PACKAGE, syntax="proto3"
    )
    for name, told in MESSAGES.items():
        message = file.message_type.add(name=name)
        for line in filter(None, told.split(", ")):
            (field, number), kind = line.split(" ")[0].split(":"), line.split(" ", 1)[1]
            many = kind.endswith("*") or kind.startswith("map ")
            made = message.field.add(
                name=field,
                number=int(number),
                label=scalar.LABEL_REPEATED if many else scalar.LABEL_OPTIONAL,
            )
            bare = kind.rstrip("*")
            if kind.startswith("map "):
                entry = message.nested_type.add(name="ParametersEntry")
                entry.options.map_entry = True
                entry.field.add(
                    name="key", number=1, type=scalar.TYPE_STRING, label=scalar.LABEL_OPTIONAL
                )
                of = f".{PACKAGE}.{kind.removeprefix('map ')}"
                entry.field.add(
                    name="value",
                    number=2,
                    type=scalar.TYPE_MESSAGE,
                    type_name=of,
                    label=scalar.LABEL_OPTIONAL,
                )
                made.type, made.type_name = (
                    scalar.TYPE_MESSAGE,
                    f".{PACKAGE}.{name}.ParametersEntry",
                )
            elif bare[0].isupper():
                made.type, made.type_name = scalar.TYPE_MESSAGE, f".{PACKAGE}.{bare}"
            else:
                made.type = scalar.Type.Value(f"TYPE_{bare.upper()}")
            if name == "InferParameter":
                made.oneof_index = 0
        if name == "InferParameter":
            message.oneof_decl.add(name="parameter_choice")
    known = descriptor_pool.DescriptorPool()
    known.Add(file)
    return {
        name: message_factory.GetMessageClass(known.FindMessageTypeByName(f"{PACKAGE}.{name}"))
        for name in MESSAGES
    }


def kind(name: str) -> Any:
    """A message's class."""
    return pool()[name]


def make(name: str, /, **values: Any) -> Any:
    """A message."""
    return kind(name)(**values)


def put_tensors(into: Any, raw: Any, arrays: Arrays) -> None:
    """Write tensors into a message, their contents raw."""
    for name, array in arrays.items():
        into.add(name=name, datatype=oip_json.datatype_of(array), shape=list(array.shape))
        raw.append(oip_json.to_bytes(array))


def read_tensors(told: Any, raw: Any) -> dict[str, Array]:
    """The tensors of a message, raw or as typed contents. Raises UserError."""
    if raw and len(raw) != len(told):
        raise UserError(
            "The message has %(found)s raw contents for %(wanted)s tensors; expected one each.",
            found=len(raw),
            wanted=len(told),
        )
    found: dict[str, Array] = {}
    for number, each in enumerate(told):
        if each.datatype not in DATATYPES:
            raise UserError(
                "The tensor %(name)s has the type %(found)s; expected one of %(known)s.",
                name=each.name,
                found=each.datatype,
                known=", ".join(DATATYPES),
            )
        shape = list(each.shape)
        if any(n < 0 for n in shape):
            raise UserError(
                "The tensor %(name)s has the shape %(found)s; expected a list of lengths.",
                name=each.name,
                found=shape,
            )
        if raw:
            found[each.name] = oip_json.from_bytes(each.name, each.datatype, shape, raw[number])
        elif each.datatype in CONTENTS:
            found[each.name] = oip_json.from_values(
                each.name,
                each.datatype,
                shape,
                list(getattr(each.contents, CONTENTS[each.datatype])),
            )
        else:
            raise UserError("The tensor %(name)s has no data.", name=each.name)
    return found


def put_parameters(into: Any, values: Mapping[str, Any]) -> None:
    """Write parameters into a message."""
    for name, value in values.items():
        if isinstance(value, bool):
            into[name].bool_param = value
        elif isinstance(value, int | np.integer):
            into[name].int64_param = int(value)
        elif isinstance(value, float):
            into[name].double_param = value
        else:
            into[name].string_param = str(value)


def read_parameters(told: Any) -> dict[str, Any]:
    """The parameters of a message."""
    return {
        name: getattr(each, each.WhichOneof("parameter_choice") or "string_param")
        for name, each in told.items()
    }
