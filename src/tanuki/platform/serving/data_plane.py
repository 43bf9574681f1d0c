"""The model server's data plane: what REST and gRPC both answer, in plain values.

Both doors only translate their messages to and from it.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tanuki import __version__
from tanuki.errors import UserError
from tanuki.platform.mlops.runtimes import TensorSpec
from tanuki.platform.serving.inference import InferenceAnswer, Metadata
from tanuki.platform.serving.oip_json import EXTENSIONS, InferenceRequest, platform_name
from tanuki.platform.serving.server import ModelServer
from tanuki.platform.serving.stats import ServedTotals

MAX_REQUEST_BYTES = 512 * 1024 * 1024
SERVER_NAME = "tanuki"
READY, UNAVAILABLE = "READY", "UNAVAILABLE"
GRPC_CODES = {404: "NOT_FOUND", 503: "INTERNAL", 504: "DEADLINE_EXCEEDED"}


def error_status(error: UserError) -> tuple[int, str]:
    """An error's status over HTTP and its code over gRPC."""
    if error.status in GRPC_CODES:
        return error.status, GRPC_CODES[error.status]
    return 400, "INVALID_ARGUMENT"


class DataPlane:
    """The operations of the Open Inference Protocol on the models of this process.

    A `version` of None or "" is the live one. All raise NotFound and ModelError.
    """

    def __init__(self, models: ModelServer) -> None:
        self.models = models

    def server_metadata(self) -> dict[str, Any]:
        return {"name": SERVER_NAME, "version": __version__, "extensions": EXTENSIONS}

    def is_ready(self, model: str, version: str | None) -> bool:
        return self.models.ready(model, version or None)

    def metadata(self, model: str, version: str | None) -> Metadata:
        return self.models.metadata(model, version or None)

    def infer(self, model: str, version: str | None, request: InferenceRequest) -> InferenceAnswer:
        """A model's answer with the requested outputs. UserError for one that there is not."""
        person = request.parameters.get("person")
        answer = self.models.infer(
            model,
            request.inputs,
            version=version or None,
            person=None if person is None else str(person),
        )
        if request.outputs is None:
            return answer
        for name in request.outputs:
            if name not in answer.outputs:
                raise UserError(
                    "The model %(model)s has no output %(name)s; expected %(known)s.",
                    model=model,
                    name=name,
                    known=", ".join(answer.outputs),
                )
        return replace(answer, outputs={name: answer.outputs[name] for name in request.outputs})

    def config(self, model: str, version: str | None) -> dict[str, Any]:
        """A model's configuration; lengths are without the first, which counts rows."""
        signature = self.models.signature(model, version or None)
        return {
            "name": model,
            "platform": platform_name(signature),
            "backend": "onnxruntime" if signature.kind == "onnx" else signature.kind,
            "max_batch_size": signature.max_batch,
            "input": [tensor_config(tensor) for tensor in signature.inputs],
            "output": [tensor_config(tensor) for tensor in signature.outputs],
        }

    def statistics(self, model: str | None, version: str | None) -> list[dict[str, Any]]:
        """What was counted since the server began, by version; of all models if None."""
        names: Sequence[str] = [model] if model else self.models.names()
        if model:
            self.models.signature(model, version or None)  # raises NotFound when there is none
        return [
            version_statistics(name, number, totals)
            for name in names
            for number, totals in sorted(self.models.statistics(name, version or None).items())
        ]

    def repository_index(self, *, ready_only: bool = False) -> list[dict[str, str]]:
        """Every version that the rollouts name, and whether it can answer."""
        entries = []
        for name in self.models.names():
            try:
                entries += [
                    {"name": name, "version": version, "state": READY, "reason": ""}
                    for version in self.models.versions(name)
                ]
            except UserError as error:
                reason = {"state": UNAVAILABLE, "reason": str(error)}
                entries.append({"name": name, "version": "", **reason})
        return [entry for entry in entries if entry["state"] == READY or not ready_only]


def tensor_config(tensor: TensorSpec) -> dict[str, Any]:
    return {
        "name": tensor.name,
        "data_type": f"TYPE_{tensor.datatype.replace('BYTES', 'STRING')}",
        "dims": list(tensor.shape[1:] if tensor.counts_rows else tensor.shape),
    }


def version_statistics(model: str, version: str, totals: ServedTotals) -> dict[str, Any]:
    queue_seconds = max(totals.success_seconds - totals.run_seconds, 0.0)
    return {
        "name": model,
        "version": version,
        "last_inference": int(totals.last_at * 1000),
        "inference_count": int(totals.success),
        "execution_count": int(totals.runs),
        "inference_stats": {
            "success": duration(totals.success, totals.success_seconds),
            "fail": duration(totals.fail, totals.fail_seconds),
            "queue": duration(totals.success, queue_seconds),
            "compute_input": duration(totals.success, 0.0),
            "compute_infer": duration(totals.success, totals.run_seconds),
            "compute_output": duration(totals.success, 0.0),
        },
    }


def duration(count: float, seconds: float) -> dict[str, int]:
    """A count and its total time, in the protocol's nanoseconds."""
    return {"count": int(count), "ns": int(seconds * 1e9)}
