"""Models on a server of the Open Inference Protocol v2, over HTTP or gRPC by its URL.

Tanuki's own, Triton, KServe and OpenVINO Model Server speak it.
"""

import http.client
import json
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote, urlsplit

from tanuki.errors import NotFound, UserError
from tanuki.platform.mlops.runtimes import Arrays, InferenceTimeout, ModelError
from tanuki.platform.serving import oip_json, oip_protobuf
from tanuki.platform.serving.inference import (
    Inference,
    InferenceAnswer,
    Metadata,
    person_parameters,
)
from tanuki.platform.serving.oip_protobuf import Message

if TYPE_CHECKING:
    import grpc

MAX_IDLE_CONNECTIONS = 64
DEFAULT_TIMEOUT_SECONDS = 30.0
MAX_MESSAGE_BYTES = 512 * 1024 * 1024


class ModelClient(Inference, Protocol):
    """Models on a server."""

    def live(self) -> bool: ...


def connect_model_server(url: str) -> ModelClient:
    """A client for a server's URL: http://, https://, grpc:// or grpcs://. Raises UserError.

    Nothing is sent before the first request.
    """
    parts = urlsplit(url)
    if parts.scheme in ("http", "https") and parts.hostname:
        return HttpClient(url)
    if parts.scheme in ("grpc", "grpcs") and parts.hostname and parts.port:
        return GrpcClient(parts.netloc, secure=parts.scheme == "grpcs")
    raise UserError(
        "%(url)s is not the address of a model server; expected http://host:port or "
        "grpc://host:port.",
        url=url,
    )


def unreachable_error(error: Exception) -> ModelError:
    return ModelError(
        "The model server does not answer (%(reason)s).", reason=str(error) or type(error).__name__
    )


# ---- HTTP ----------------------------------------------------------------------------------------


class HttpClient:
    """Over HTTP, with binary tensors. Connections are kept open for later requests."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.secure, self.host = parts.scheme == "https", parts.netloc
        self.path = parts.path.rstrip("/")
        self.idle: deque[http.client.HTTPConnection] = deque(maxlen=MAX_IDLE_CONNECTIONS)

    def infer(
        self,
        model: str,
        inputs: Arrays,
        *,
        version: str | None = None,
        person: str | None = None,
        seconds: float | None = None,
    ) -> InferenceAnswer:
        """A model's answer. Raises NotFound, ModelError, and UserError for wrong inputs."""
        body, length = oip_json.write_request(inputs, parameters=person_parameters(person))
        headers = {oip_json.HEADER_LENGTH: str(length), "Content-Type": "application/octet-stream"}
        path = f"{self.model_path(model, version)}/infer"
        status, response_headers, content = self.send(
            "POST", path, body, headers, seconds or DEFAULT_TIMEOUT_SECONDS
        )
        if status != 200:
            raise response_error(status, content)
        return oip_json.read_response(content, response_headers.get(oip_json.HEADER_LENGTH))

    def live(self) -> bool:
        """Whether the server answers."""
        try:
            return self.send("GET", "/v2/health/live")[0] == 200
        except ModelError:
            return False

    def ready(self, model: str, version: str | None = None) -> bool:
        """Whether a model, or a version of it, can answer now."""
        try:
            return self.send("GET", f"{self.model_path(model, version)}/ready")[0] == 200
        except ModelError:
            return False

    def metadata(self, model: str, version: str | None = None) -> Metadata:
        """A model's inputs and outputs. Raises NotFound and ModelError."""
        status, _, content = self.send("GET", self.model_path(model, version))
        if status != 200:
            raise response_error(status, content)
        metadata: Metadata = json.loads(content)
        return metadata

    def refresh(self) -> None:
        """Nothing to do: the server follows its rollouts itself."""

    def model_path(self, model: str, version: str | None) -> str:
        return f"/v2/models/{quote(model, safe='')}" + (
            f"/versions/{quote(version, safe='')}" if version else ""
        )

    def send(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        seconds: float = DEFAULT_TIMEOUT_SECONDS,
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        """Status, headers and body.

        A kept connection that the server closed meanwhile is replaced by another.
        """
        while True:
            try:
                reused, connection = True, self.idle.pop()
            except IndexError:
                reused, connection = False, self.open_connection()
            connection.timeout = seconds
            if connection.sock is not None:
                connection.sock.settimeout(seconds)
            try:
                connection.request(method, self.path + path, body, headers or {})
                response = connection.getresponse()
                content = response.read()
            except TimeoutError as error:
                connection.close()
                raise InferenceTimeout(
                    "The model server did not answer within %(seconds)s seconds.",
                    seconds=f"{seconds:g}",
                ) from error
            except (http.client.HTTPException, OSError) as error:
                connection.close()
                if not reused:
                    raise unreachable_error(error) from error
                continue
            if len(self.idle) < MAX_IDLE_CONNECTIONS:
                self.idle.append(connection)
            else:
                connection.close()
            return response.status, response.headers, content

    def open_connection(self) -> http.client.HTTPConnection:
        return (
            http.client.HTTPSConnection(self.host)
            if self.secure
            else http.client.HTTPConnection(self.host)
        )

    def close(self) -> None:
        """Close the kept connections."""
        while self.idle:
            self.idle.pop().close()


def response_error(status: int, content: bytes) -> UserError:
    """Our error for a response with an error status."""
    try:
        text = str(json.loads(content).get("error", ""))
    except (ValueError, AttributeError):
        text = content[:200].decode("utf-8", "replace")
    codes = {400: "INVALID_ARGUMENT", 404: "NOT_FOUND", 504: "DEADLINE_EXCEEDED"}
    return error_from_code(codes.get(status, "INTERNAL"), text or f"HTTP {status}")


def error_from_code(code: str, text: str) -> UserError:
    """Our error for a gRPC status code, with the server's text."""
    errors: dict[str, type[UserError]] = {
        "INVALID_ARGUMENT": UserError,
        "NOT_FOUND": NotFound,
        "DEADLINE_EXCEEDED": InferenceTimeout,
    }
    return errors.get(code, ModelError)(text.replace("%", "%%"))


# ---- gRPC ----------------------------------------------------------------------------------------


class GrpcClient:
    """Over gRPC, with raw tensors."""

    def __init__(self, address: str, *, secure: bool) -> None:
        self.address, self.secure = address, secure
        self.messages = oip_protobuf.import_messages()
        self.lock = threading.Lock()
        self.channel: grpc.Channel | None = None

    def infer(
        self,
        model: str,
        inputs: Arrays,
        *,
        version: str | None = None,
        person: str | None = None,
        seconds: float | None = None,
    ) -> InferenceAnswer:
        """A model's answer. Raises NotFound, ModelError, and UserError for wrong inputs."""
        request = self.messages.ModelInferRequest(model_name=model, model_version=version or "")
        oip_protobuf.add_tensors(request.inputs, request.raw_input_contents, inputs)
        oip_protobuf.add_parameters(request.parameters, person_parameters(person))
        response = self.call("ModelInfer", request, seconds or DEFAULT_TIMEOUT_SECONDS)
        outputs = oip_protobuf.read_tensors(response.outputs, response.raw_output_contents)
        parameters = oip_protobuf.read_parameters(response.parameters)
        return InferenceAnswer(
            outputs, response.model_version, str(parameters.get("served_as", "champion"))
        )

    def live(self) -> bool:
        """Whether the server answers."""
        try:
            return bool(self.call("ServerLive", self.messages.ServerLiveRequest()).live)
        except UserError:
            return False

    def ready(self, model: str, version: str | None = None) -> bool:
        """Whether a model, or a version of it, can answer now."""
        request = self.messages.ModelReadyRequest(name=model, version=version or "")
        try:
            return bool(self.call("ModelReady", request).ready)
        except UserError:
            return False

    def metadata(self, model: str, version: str | None = None) -> Metadata:
        """A model's inputs and outputs. Raises NotFound and ModelError."""
        request = self.messages.ModelMetadataRequest(name=model, version=version or "")
        response = self.call("ModelMetadata", request)
        sides: dict[str, Any] = {
            side: [
                {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}
                for tensor in getattr(response, side)
            ]
            for side in ("inputs", "outputs")
        }
        return {
            "name": response.name,
            "versions": list(response.versions),
            "platform": response.platform,
            **sides,
        }

    def refresh(self) -> None:
        """Nothing to do: the server follows its rollouts itself."""

    def call(
        self, method: str, request: Message, seconds: float = DEFAULT_TIMEOUT_SECONDS
    ) -> Message:
        """Call a method of the service. Raises what the server reports as our own errors."""
        import grpc

        stub = oip_protobuf.import_stubs().GRPCInferenceServiceStub(self.open_channel())
        try:
            return getattr(stub, method)(request, timeout=seconds)
        except grpc.RpcError as error:
            code = error.code()
            if code == grpc.StatusCode.UNAVAILABLE:
                raise unreachable_error(error) from error
            raise error_from_code(code.name, str(error.details() or "") or code.name) from error

    def open_channel(self) -> "grpc.Channel":
        """The channel, opened with the first call."""
        import grpc

        with self.lock:
            if self.channel is None:
                options = [
                    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
                    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
                ]
                if self.secure:
                    credentials = grpc.ssl_channel_credentials()
                    self.channel = grpc.secure_channel(self.address, credentials, options)
                else:
                    self.channel = grpc.insecure_channel(self.address, options)
            return self.channel

    def close(self) -> None:
        """Close the channel."""
        if self.channel is not None:
            self.channel.close()
