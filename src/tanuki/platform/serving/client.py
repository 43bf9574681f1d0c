"""Models on a server that speaks the Open Inference Protocol v2: ours, Triton, KServe, OpenVINO Model Server; over HTTP or gRPC, by the URL."""

import http.client
import json
import threading
from collections import deque
from typing import Any, Protocol
from urllib.parse import quote, urlsplit

from tanuki.errors import NotFound, UserError
from tanuki.platform.mlops.runtimes import Arrays, ModelError, TooSlow
from tanuki.platform.serving import oip_json, oip_protobuf
from tanuki.platform.serving.server import Answer

KEPT = 64  # connections
SECONDS = 30.0  # when nothing else is said
MOST_BYTES = 512 * 1024 * 1024


class Client(Protocol):
    """Models on a server; asked as those in process are (see serving.Inference)."""

    def infer(
        self,
        model: str,
        inputs: Arrays,
        *,
        version: str | None = None,
        person: str | None = None,
        seconds: float | None = None,
    ) -> Answer: ...

    def live(self) -> bool: ...

    def ready(self, model: str, version: str | None = None) -> bool: ...

    def metadata(self, model: str, version: str | None = None) -> dict[str, Any]: ...

    def refresh(self) -> None: ...

    def close(self) -> None: ...


def connect(url: str) -> Client:
    """A client for a server's URL: http://, https://, grpc:// or grpcs://. Nothing is sent before the first question. Raises UserError."""
    parts = urlsplit(url)
    if parts.scheme in ("http", "https") and parts.hostname:
        return HttpClient(url)
    if parts.scheme in ("grpc", "grpcs") and parts.hostname and parts.port:
        return GrpcClient(parts.netloc, secure=parts.scheme == "grpcs")
    raise UserError(
        "%(url)s is no address of a model server; expected http://host:port or grpc://host:port.",
        url=url,
    )


def unreachable(error: Exception) -> ModelError:
    """The server does not answer."""
    return ModelError(
        "The model server does not answer (%(reason)s).", reason=str(error) or type(error).__name__
    )


def asked(person: str | None) -> dict[str, Any]:
    """The parameters of a request; servers that know nothing of people leave them alone."""
    return {} if person is None else {"person": person}


# ---- HTTP ----------------------------------------------------------------------------------------------------------


class HttpClient:
    """Over HTTP, with binary tensors. Connections are kept for the next question, whoever asks it."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.secure, self.host = parts.scheme == "https", parts.netloc
        self.path = parts.path.rstrip("/")
        self.idle: deque[http.client.HTTPConnection] = deque(maxlen=KEPT)

    def infer(
        self,
        model: str,
        inputs: Arrays,
        *,
        version: str | None = None,
        person: str | None = None,
        seconds: float | None = None,
    ) -> Answer:
        """A model's answer. Raises NotFound, ModelError, and UserError for wrong inputs."""
        body, length = oip_json.write_request(inputs, parameters=asked(person))
        headers = {oip_json.LENGTH: str(length), "Content-Type": "application/octet-stream"}
        status, found, content = self.send(
            "POST", f"{self.place(model, version)}/infer", body, headers, seconds or SECONDS
        )
        if status != 200:
            raise refused(status, content)
        told, outputs = oip_json.read_answer(content, found.get(oip_json.LENGTH))
        return Answer(
            outputs,
            str(told.get("model_version", "")),
            str((told.get("parameters") or {}).get("served_as", "champion")),
        )

    def live(self) -> bool:
        """Whether the server answers."""
        try:
            return self.send("GET", "/v2/health/live")[0] == 200
        except ModelError:
            return False

    def ready(self, model: str, version: str | None = None) -> bool:
        """Whether a model, or a version of it, can be asked now."""
        try:
            return self.send("GET", f"{self.place(model, version)}/ready")[0] == 200
        except ModelError:
            return False

    def metadata(self, model: str, version: str | None = None) -> dict[str, Any]:
        """What a model takes and gives, as the protocol tells it. Raises NotFound and ModelError."""
        status, _, content = self.send("GET", self.place(model, version))
        if status != 200:
            raise refused(status, content)
        told: dict[str, Any] = json.loads(content)
        return told

    def refresh(self) -> None:
        """The server looks at its plans itself."""

    def place(self, model: str, version: str | None) -> str:
        """The path of a model or version."""
        return f"/v2/models/{quote(model, safe='')}" + (
            f"/versions/{quote(version, safe='')}" if version else ""
        )

    def send(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        seconds: float = SECONDS,
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        """Status, headers and body. A kept connection that the server closed meanwhile is given up for another."""
        while True:
            try:
                kept, connection = True, self.idle.pop()
            except IndexError:
                kept, connection = False, self.connection()
            connection.timeout = seconds
            if connection.sock is not None:
                connection.sock.settimeout(seconds)
            try:
                connection.request(method, self.path + path, body, headers or {})
                answer = connection.getresponse()
                found = answer.status, answer.headers, answer.read()
            except TimeoutError as error:
                connection.close()
                raise TooSlow(
                    "The model server did not answer within %(seconds)s seconds.",
                    seconds=f"{seconds:g}",
                ) from error
            except (http.client.HTTPException, OSError) as error:
                connection.close()
                if not kept:
                    raise unreachable(error) from error
                continue
            if len(self.idle) < KEPT:
                self.idle.append(connection)
            else:
                connection.close()
            return found

    def connection(self) -> http.client.HTTPConnection:
        """A new connection."""
        return (
            http.client.HTTPSConnection(self.host)
            if self.secure
            else http.client.HTTPConnection(self.host)
        )

    def close(self) -> None:
        """Close the connections that are kept."""
        while self.idle:
            self.idle.pop().close()


def refused(status: int, content: bytes) -> UserError:
    """What the server says is wrong, as our own error."""
    try:
        told = json.loads(content).get("error", "")
    except (ValueError, AttributeError):
        told = content[:200].decode("utf-8", "replace")
    said = str(told).replace("%", "%%") or f"HTTP {status}"
    return error_of(
        {400: "INVALID_ARGUMENT", 404: "NOT_FOUND", 504: "DEADLINE_EXCEEDED"}.get(
            status, "INTERNAL"
        ),
        said,
    )


def error_of(code: str, said: str) -> UserError:
    """A server's error as ours."""
    kind = {"INVALID_ARGUMENT": UserError, "NOT_FOUND": NotFound, "DEADLINE_EXCEEDED": TooSlow}.get(
        code, ModelError
    )
    return kind(said)


# ---- gRPC ----------------------------------------------------------------------------------------------------------


class GrpcClient:
    """Over gRPC, with raw tensors."""

    def __init__(self, address: str, *, secure: bool) -> None:
        self.address, self.secure = address, secure
        self.lock = threading.Lock()
        self.opened: Any = None

    def infer(
        self,
        model: str,
        inputs: Arrays,
        *,
        version: str | None = None,
        person: str | None = None,
        seconds: float | None = None,
    ) -> Answer:
        """A model's answer. Raises NotFound, ModelError, and UserError for wrong inputs."""
        request = oip_protobuf.make(
            "ModelInferRequest", model_name=model, model_version=version or ""
        )
        oip_protobuf.put_tensors(request.inputs, request.raw_input_contents, inputs)
        oip_protobuf.put_parameters(request.parameters, asked(person))
        found = self.call("ModelInfer", request, seconds or SECONDS)
        outputs = oip_protobuf.read_tensors(found.outputs, found.raw_output_contents)
        return Answer(
            outputs,
            found.model_version,
            str(oip_protobuf.read_parameters(found.parameters).get("served_as", "champion")),
        )

    def live(self) -> bool:
        """Whether the server answers."""
        try:
            return bool(self.call("ServerLive", oip_protobuf.make("ServerLiveRequest")).live)
        except UserError:
            return False

    def ready(self, model: str, version: str | None = None) -> bool:
        """Whether a model, or a version of it, can be asked now."""
        try:
            return bool(
                self.call(
                    "ModelReady",
                    oip_protobuf.make("ModelReadyRequest", name=model, version=version or ""),
                ).ready
            )
        except UserError:
            return False

    def metadata(self, model: str, version: str | None = None) -> dict[str, Any]:
        """What a model takes and gives, as the protocol tells it. Raises NotFound and ModelError."""
        found = self.call(
            "ModelMetadata",
            oip_protobuf.make("ModelMetadataRequest", name=model, version=version or ""),
        )
        sides = {
            side: [
                {"name": each.name, "datatype": each.datatype, "shape": list(each.shape)}
                for each in getattr(found, side)
            ]
            for side in ("inputs", "outputs")
        }
        return {
            "name": found.name,
            "versions": list(found.versions),
            "platform": found.platform,
            **sides,
        }

    def refresh(self) -> None:
        """The server looks at its plans itself."""

    def call(self, method: str, request: Any, seconds: float = SECONDS) -> Any:
        """Call a method of the service. Raises what the server says as our own errors."""
        import grpc

        try:
            return self.channel().unary_unary(
                f"/{oip_protobuf.SERVICE}/{method}",
                request_serializer=lambda made: made.SerializeToString(),
                response_deserializer=oip_protobuf.kind(f"{method}Response").FromString,
            )(request, timeout=seconds)
        except grpc.RpcError as error:
            code, said = error.code(), str(error.details() or "")
            if code == grpc.StatusCode.UNAVAILABLE:
                raise unreachable(error) from error
            raise error_of(code.name, said.replace("%", "%%") or code.name) from error

    def channel(self) -> Any:
        """The channel, opened with the first call."""
        import grpc

        with self.lock:
            if self.opened is None:
                sizes = [
                    ("grpc.max_receive_message_length", MOST_BYTES),
                    ("grpc.max_send_message_length", MOST_BYTES),
                ]
                if self.secure:
                    self.opened = grpc.secure_channel(
                        self.address, grpc.ssl_channel_credentials(), sizes
                    )
                else:
                    self.opened = grpc.insecure_channel(self.address, sizes)
            return self.opened

    def close(self) -> None:
        """Close the channel."""
        if self.opened is not None:
            self.opened.close()
