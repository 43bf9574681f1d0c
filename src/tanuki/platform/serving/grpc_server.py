"""The model server over gRPC: the same answers as over HTTP, in the protocol's messages."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tanuki import __version__
from tanuki.errors import UserError
from tanuki.platform.serving import oip_json, oip_metadata, oip_protobuf
from tanuki.platform.serving.oip_protobuf import make
from tanuki.platform.serving.server import Models

MOST_BYTES = 512 * 1024 * 1024
THREADS = 64


def server(models: Models, address: str) -> tuple[Any, int]:
    """A server that listens, not started yet, and its port (0 in the address: any free one). Raises UserError when the address is taken."""
    import grpc

    sizes = [
        ("grpc.max_receive_message_length", MOST_BYTES),
        ("grpc.max_send_message_length", MOST_BYTES),
        ("grpc.so_reuseport", 0),
    ]
    made = grpc.server(ThreadPoolExecutor(THREADS, thread_name_prefix="model-grpc"), options=sizes)
    methods = {
        name: grpc.unary_unary_rpc_method_handler(
            handler(models, METHODS[name]),
            request_deserializer=oip_protobuf.kind(f"{name}Request").FromString,
            response_serializer=lambda told: told.SerializeToString(),
        )
        for name in oip_protobuf.METHODS
    }
    made.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(oip_protobuf.SERVICE, methods),)
    )
    try:
        port = made.add_insecure_port(address)
    except RuntimeError as error:
        raise UserError(
            "The address %(address)s cannot be listened on; another program may have it.",
            address=address,
        ) from error
    return made, int(port)


def handler(models: Models, answer: Callable[[Models, Any], Any]) -> Callable[[Any, Any], Any]:
    """A method of the service: what is the asker's fault, or a model's, becomes a status with its sentence."""

    def handle(request: Any, context: Any) -> Any:
        import grpc

        try:
            return answer(models, request)
        except UserError as error:
            return context.abort(
                getattr(grpc.StatusCode, oip_metadata.code_of(error)[1]), str(error)
            )

    return handle


def live(_models: Models, _request: Any) -> Any:
    """It answers."""
    return make("ServerLiveResponse", live=True)


def server_ready(_models: Models, _request: Any) -> Any:
    """It can be asked."""
    return make("ServerReadyResponse", ready=True)


def about(_models: Models, _request: Any) -> Any:
    """The server itself."""
    return make(
        "ServerMetadataResponse",
        name=oip_metadata.SERVER,
        version=__version__,
        extensions=oip_json.EXTENSIONS,
    )


def ready(models: Models, request: Any) -> Any:
    """Whether a model can be asked now."""
    return make("ModelReadyResponse", ready=models.ready(request.name, request.version or None))


def metadata(models: Models, request: Any) -> Any:
    """What a model takes and gives."""
    return make("ModelMetadataResponse", **models.metadata(request.name, request.version or None))


def config(models: Models, request: Any) -> Any:
    """A model's configuration."""
    told = oip_metadata.config(models, request.name, request.version or None)
    for side in ("input", "output"):
        for each in told[side]:
            each["data_type"] = (
                oip_protobuf.NUMBERED.index(
                    each["data_type"].removeprefix("TYPE_").replace("STRING", "BYTES")
                )
                + 1
            )
    return make("ModelConfigResponse", config=told)


def stats(models: Models, request: Any) -> Any:
    """What was counted."""
    return make(
        "ModelStatisticsResponse",
        model_stats=oip_metadata.statistics(models, request.name or None, request.version or None),
    )


def index(models: Models, request: Any) -> Any:
    """The models there are."""
    return make("RepositoryIndexResponse", models=oip_metadata.index(models, ready=request.ready))


def infer(models: Models, request: Any) -> Any:
    """A model's answer, its tensors raw."""
    inputs = oip_protobuf.read_tensors(request.inputs, request.raw_input_contents)
    person = oip_protobuf.read_parameters(request.parameters).get("person")
    answer = models.infer(
        request.model_name,
        inputs,
        version=request.model_version or None,
        person=None if person is None else str(person),
    )
    outputs = answer.outputs
    for output in request.outputs:
        if output.name not in outputs:
            raise UserError(
                "The model %(model)s has no output %(name)s; expected %(known)s.",
                model=request.model_name,
                name=output.name,
                known=", ".join(outputs),
            )
    if request.outputs:
        outputs = {output.name: outputs[output.name] for output in request.outputs}
    told = make(
        "ModelInferResponse",
        model_name=request.model_name,
        model_version=answer.version,
        id=request.id,
    )
    oip_protobuf.put_parameters(told.parameters, {"served_as": answer.served_as})
    oip_protobuf.put_tensors(told.outputs, told.raw_output_contents, outputs)
    return told


METHODS: dict[str, Callable[[Models, Any], Any]] = {
    "ServerLive": live,
    "ServerReady": server_ready,
    "ServerMetadata": about,
    "ModelReady": ready,
    "ModelMetadata": metadata,
    "ModelInfer": infer,
    "ModelConfig": config,
    "ModelStatistics": stats,
    "RepositoryIndex": index,
}
