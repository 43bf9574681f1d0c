"""The model server over gRPC: translates the protocol's messages to and from the data plane."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from tanuki.errors import UserError
from tanuki.platform.serving import oip_protobuf
from tanuki.platform.serving.data_plane import MAX_REQUEST_BYTES, DataPlane, error_status
from tanuki.platform.serving.oip_json import InferenceRequest
from tanuki.platform.serving.oip_protobuf import Message
from tanuki.platform.serving.server import ModelServer

if TYPE_CHECKING:
    import grpc

SERVICE = "inference.GRPCInferenceService"
MAX_GRPC_THREADS = 64
Values = dict[str, Any]


def create_server(models: ModelServer, address: str) -> "tuple[grpc.Server, int]":
    """A server that listens, not started yet, and its port (0 in the address: any free one).

    Raises UserError when the address is taken.
    """
    import grpc

    options = [
        ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
        ("grpc.max_send_message_length", MAX_REQUEST_BYTES),
        ("grpc.so_reuseport", 0),
    ]
    server = grpc.server(
        ThreadPoolExecutor(MAX_GRPC_THREADS, thread_name_prefix="model-grpc"), options=options
    )
    messages, plane = oip_protobuf.import_messages(), DataPlane(models)
    handlers = {
        name: grpc.unary_unary_rpc_method_handler(
            create_handler(plane, answer, getattr(messages, f"{name}Response")),
            request_deserializer=getattr(messages, f"{name}Request").FromString,
            response_serializer=getattr(messages, f"{name}Response").SerializeToString,
        )
        for name, answer in METHODS.items()
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    try:
        port = server.add_insecure_port(address)
    except RuntimeError as error:
        raise UserError(
            "The address %(address)s cannot be used; another program may have it.",
            address=address,
        ) from error
    return server, int(port)


def create_handler(
    plane: DataPlane, answer: Callable[[DataPlane, Message], Values], response: Message
) -> "Callable[[Message, grpc.ServicerContext], Message]":
    """A method of the service. A UserError becomes a status with its sentence."""

    def handle(request: Message, context: "grpc.ServicerContext") -> Message:
        import grpc

        try:
            return response(**answer(plane, request))
        except UserError as error:
            code = getattr(grpc.StatusCode, error_status(error)[1])
            return context.abort(code, str(error))

    return handle


def answer_model_infer(plane: DataPlane, request: Message) -> Values:
    """A model's answer, its tensors raw."""
    inference = InferenceRequest(
        oip_protobuf.read_tensors(request.inputs, request.raw_input_contents),
        id=request.id,
        parameters=oip_protobuf.read_parameters(request.parameters),
        outputs={output.name: True for output in request.outputs} or None,
    )
    answer = plane.infer(request.model_name, request.model_version, inference)
    response = oip_protobuf.import_messages().ModelInferResponse()
    oip_protobuf.add_parameters(response.parameters, {"served_as": answer.served_as})
    oip_protobuf.add_tensors(response.outputs, response.raw_output_contents, answer.outputs)
    return {
        "model_name": request.model_name,
        "model_version": answer.version,
        "id": request.id,
        "parameters": response.parameters,
        "outputs": response.outputs,
        "raw_output_contents": response.raw_output_contents,
    }


METHODS: dict[str, Callable[[DataPlane, Message], Values]] = {
    "ServerLive": lambda _plane, _request: {"live": True},
    "ServerReady": lambda _plane, _request: {"ready": True},
    "ServerMetadata": lambda plane, _request: plane.server_metadata(),
    "ModelReady": lambda plane, request: {"ready": plane.is_ready(request.name, request.version)},
    "ModelMetadata": lambda plane, request: plane.metadata(request.name, request.version),
    "ModelInfer": answer_model_infer,
    "ModelConfig": lambda plane, request: {"config": plane.config(request.name, request.version)},
    "ModelStatistics": lambda plane, request: {
        "model_stats": plane.statistics(request.name, request.version)
    },
    "RepositoryIndex": lambda plane, request: {
        "models": plane.repository_index(ready_only=request.ready)
    },
}
