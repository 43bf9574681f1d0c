"""What the model server says beside inferences, the same over HTTP and gRPC: the models there are, their configuration, their statistics, codes of errors."""

from typing import Any

from tanuki.errors import UserError
from tanuki.platform.mlops.runtimes import Spec
from tanuki.platform.serving.server import Models

SERVER = "tanuki"
READY, UNAVAILABLE = "READY", "UNAVAILABLE"
CODES = {404: "NOT_FOUND", 503: "INTERNAL", 504: "DEADLINE_EXCEEDED"}  # by status


def code_of(error: UserError) -> tuple[int, str]:
    """An error's status over HTTP and its code over gRPC."""
    return (
        (error.status, CODES[error.status]) if error.status in CODES else (400, "INVALID_ARGUMENT")
    )


def index(models: Models, *, ready: bool = False) -> list[dict[str, str]]:
    """Every version that the plans name, and whether it can be asked; with `ready` only those that can."""
    found = []
    for name in models.names():
        try:
            found += [
                {"name": name, "version": version, "state": READY, "reason": ""}
                for version in models.versions(name)
            ]
        except UserError as error:
            found.append({"name": name, "version": "", "state": UNAVAILABLE, "reason": str(error)})
    return [each for each in found if each["state"] == READY or not ready]


def config(models: Models, model: str, version: str | None) -> dict[str, Any]:
    """A model's configuration, as far as clients ask for it. Lengths are told without the first, which counts rows."""
    spec: Spec = models.spec(model, version)

    def sides(tensors: Any) -> list[dict[str, Any]]:
        return [
            {
                "name": tensor.name,
                "data_type": f"TYPE_{tensor.datatype.replace('BYTES', 'STRING')}",
                "dims": list(tensor.shape[1:] if tensor.rows else tensor.shape),
            }
            for tensor in tensors
        ]

    platform = "onnxruntime_onnx" if spec.kind == "onnx" else f"tanuki_{spec.kind}"
    return {
        "name": model,
        "platform": platform,
        "backend": "onnxruntime" if spec.kind == "onnx" else spec.kind,
        "max_batch_size": spec.max_batch,
        "input": sides(spec.inputs),
        "output": sides(spec.outputs),
    }


def statistics(models: Models, model: str | None, version: str | None) -> list[dict[str, Any]]:
    """What was counted since the server began, by version. Raises NotFound."""
    found = []
    for name in [model] if model else models.names():
        if model:
            models.spec(model, version)  # is there such a one
        for number, counted in sorted(models.statistics(name, version).items()):
            found.append(
                {
                    "name": name,
                    "version": number,
                    "last_inference": int(counted["last"] * 1000),
                    "inference_count": int(counted["success"]),
                    "execution_count": int(counted["runs"]),
                    "inference_stats": {
                        "success": lasted(counted["success"], counted["success_s"]),
                        "fail": lasted(counted["fail"], counted["fail_s"]),
                        "queue": lasted(
                            counted["success"], max(counted["success_s"] - counted["run_s"], 0.0)
                        ),
                        "compute_input": lasted(counted["success"], 0.0),
                        "compute_infer": lasted(counted["success"], counted["run_s"]),
                        "compute_output": lasted(counted["success"], 0.0),
                    },
                }
            )
    return found


def lasted(count: float, seconds: float) -> dict[str, int]:
    """How many, and how long together."""
    return {"count": int(count), "ns": int(seconds * 1e9)}
