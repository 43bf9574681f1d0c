"""What runs a version: its inputs and outputs, and runners by kind of model."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tanuki.errors import NotFound, UserError
from tanuki.platform.object_store import ObjectStore

Array = NDArray[Any]
Arrays = Mapping[str, Array]

DESCRIPTION_FILE = "model.json"
DATATYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype(np.uint8),
    "UINT16": np.dtype(np.uint16),
    "UINT32": np.dtype(np.uint32),
    "UINT64": np.dtype(np.uint64),
    "INT8": np.dtype(np.int8),
    "INT16": np.dtype(np.int16),
    "INT32": np.dtype(np.int32),
    "INT64": np.dtype(np.int64),
    "FP16": np.dtype(np.float16),
    "FP32": np.dtype(np.float32),
    "FP64": np.dtype(np.float64),
    "BYTES": np.dtype(np.object_),
}
DATATYPE_NAMES = {dtype: name for name, dtype in DATATYPES.items()}
ONNX_TYPES = {
    "tensor(bool)": "BOOL",
    "tensor(uint8)": "UINT8",
    "tensor(uint16)": "UINT16",
    "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64",
    "tensor(int8)": "INT8",
    "tensor(int16)": "INT16",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(float16)": "FP16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(string)": "BYTES",
}


class ModelError(UserError):
    """A model failed, or its outputs do not fit its description. Answered with 503."""

    status = 503


class InferenceTimeout(ModelError):
    """A model did not answer within its time. Answered with 504."""

    status = 504


class ServerBusy(ModelError):
    """More requests wait for a model than its queue takes. Answered with 503."""


@dataclass(frozen=True)
class TensorSpec:
    """An input or output: its name, datatype of the Open Inference Protocol, and shape.

    A length of -1 is any; the first one counts rows. An input with a `default` may be left out.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    default: Any = None

    @property
    def counts_rows(self) -> bool:
        """Whether its first length counts rows, so that requests can be concatenated."""
        return bool(self.shape) and self.shape[0] == -1

    def accepts(self, array: Array) -> bool:
        same = len(array.shape) == len(self.shape)
        fits = same and all(
            expected in (-1, length)
            for expected, length in zip(self.shape, array.shape, strict=True)
        )
        return fits and DATATYPE_NAMES.get(array.dtype) == self.datatype

    def __str__(self) -> str:
        return f"{self.datatype} {list(self.shape)}"


@dataclass(frozen=True)
class ModelSignature:
    """Inputs and outputs of a version, and how many requests it takes.

    max_batch: rows of several requests that share one run; 1 means that each request has its own.
    concurrency: runs at a time. seconds: within which a request must be answered. max_queue:
    requests that may wait; further ones are refused.
    """

    kind: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    max_batch: int = 1
    concurrency: int = 2
    seconds: float = 10.0
    max_queue: int = 256

    @classmethod
    def from_json(cls, description: Mapping[str, Any]) -> "ModelSignature":
        """From the content of model.json."""
        limits = {
            name: description[name]
            for name in ("max_batch", "concurrency", "seconds", "max_queue")
            if name in description
        }
        return cls(
            description["kind"],
            parse_tensors(description["inputs"]),
            parse_tensors(description["outputs"]),
            **limits,
        )


def parse_tensors(descriptions: Sequence[Mapping[str, Any]]) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(
            tensor["name"], tensor["datatype"], tuple(tensor["shape"]), tensor.get("default")
        )
        for tensor in descriptions
    )


class Runner(Protocol):
    """A loaded version. `run` is called from several threads; the same inputs give the same bytes.

    A runner may also have `agreement(champion, challenger)`, which `answer_agreement` uses.
    """

    spec: ModelSignature

    def run(self, inputs: Arrays) -> dict[str, Array]: ...


class OnnxRunner:
    """A graph on ONNX Runtime.

    Each run has one thread: concurrent runs use the cores better, and the bytes stay the same.
    """

    def __init__(self, folder: Path, description: Mapping[str, Any]) -> None:
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as faults

        self.faults = tuple(
            var
            for var in vars(faults).values()
            if isinstance(var, type) and issubclass(var, Exception)
        )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(description.get("threads", 1))
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # errors are reported in our own sentences
        try:
            self.session = onnxruntime.InferenceSession(
                str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
            )
        except self.faults as error:
            raise ModelError(
                "Its graph cannot be read (%(reason)s).", reason=first_line(error)
            ) from error
        inputs, outputs = (
            parse_tensors(description[side]) if side in description else self.graph_tensors(side)
            for side in ("inputs", "outputs")
        )
        self.names = [output.name for output in outputs]
        self.spec = ModelSignature.from_json(
            {
                **description,
                "inputs": [vars(tensor) for tensor in inputs],
                "outputs": [vars(tensor) for tensor in outputs],
            }
        )

    def graph_tensors(self, side: str) -> tuple[TensorSpec, ...]:
        """The graph's own inputs or outputs; a length without a number becomes -1."""
        nodes = self.session.get_inputs() if side == "inputs" else self.session.get_outputs()
        return tuple(
            TensorSpec(
                node.name,
                ONNX_TYPES[node.type],
                tuple(n if isinstance(n, int) else -1 for n in node.shape),
            )
            for node in nodes
        )

    def run(self, inputs: Arrays) -> dict[str, Array]:
        try:
            return dict(zip(self.names, self.session.run(self.names, dict(inputs)), strict=True))
        except self.faults as error:
            raise ModelError("Its graph failed (%(reason)s).", reason=first_line(error)) from error


RunnerFactory = Callable[[Path, dict[str, Any]], Runner]
RUNNER_FACTORIES: Mapping[str, RunnerFactory] = MappingProxyType({"onnx": OnnxRunner})
"""Kinds that every registry can load; a system adds its own at construction."""


def first_line(error: BaseException) -> str:
    """The first line of an error, at most 200 characters."""
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


# ---- files of a version --------------------------------------------------------------------------


def read_description(files: ObjectStore, prefix: str) -> dict[str, Any] | None:
    """The content of a version's model.json; None when it has none. Raises ModelError.

    No server answers with a version that has no model.json.
    """
    try:
        description: dict[str, Any] = json.loads(files.get(f"{prefix}/{DESCRIPTION_FILE}"))
    except NotFound:
        return None
    except ValueError as error:
        raise ModelError(
            "Its model.json is not JSON (%(reason)s).", reason=first_line(error)
        ) from error
    return description


def local_folder(files: ObjectStore, prefix: str, cache: Path) -> Path:
    """A folder with a version's files: where they are, or a copy. Files never change."""
    if files.is_local:
        return Path(files.path_of(prefix))
    folder = cache / prefix
    if not (folder / DESCRIPTION_FILE).exists():  # the file that is copied last
        for key in sorted(
            files.list_keys(prefix), key=lambda key: key.endswith(f"/{DESCRIPTION_FILE}")
        ):
            ObjectStore(str(cache)).put(key, files.get(key))
    return folder


def load_runner(
    files: ObjectStore,
    prefix: str,
    cache: Path,
    factories: Mapping[str, RunnerFactory] = RUNNER_FACTORIES,
) -> Runner:
    """The version whose files are below a prefix, loaded and run once. Raises ModelError.

    `factories`: what loads a version, by the kind that its model.json names.
    """
    description = read_description(files, prefix)
    if description is None:
        raise ModelError("It has no model.json, which says how it is run.")
    kind = description.get("kind")
    if not isinstance(kind, str) or kind not in factories:
        raise ModelError(
            "Its kind %(kind)s is not known; expected one of %(known)s.",
            kind=kind,
            known=", ".join(factories),
        )
    folder = local_folder(files, prefix, cache)
    try:
        runner = factories[kind](folder, description)
        warm_up(runner, description.get("warm_up"))
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise ModelError(
            "Its files do not fit its model.json (%(reason)s).",
            reason=f"{type(error).__name__}: {first_line(error)}",
        ) from error
    return runner


def warm_up(runner: Runner, example: Mapping[str, Any] | None) -> None:
    """Run a version once: with its own example, whose answer must be valid, or with zeros."""
    inputs = {}
    for tensor in runner.spec.inputs:
        value = (example or {}).get(tensor.name, tensor.default)
        shape = [1 if n == -1 else n for n in tensor.shape]
        if value is not None:
            inputs[tensor.name] = np.asarray(value, DATATYPES[tensor.datatype])
        elif tensor.datatype == "BYTES":
            inputs[tensor.name] = np.full(shape, b"", object)
        else:
            inputs[tensor.name] = np.zeros(shape, DATATYPES[tensor.datatype])
    validate_outputs(
        runner.spec,
        validate_inputs("it", runner.spec, inputs),
        runner.run(inputs),
        finite=example is not None,
    )


# ---- inputs and outputs --------------------------------------------------------------------------


def validate_inputs(model: str, spec: ModelSignature, request: Arrays) -> dict[str, Array]:
    """A request's inputs as the version takes them, with defaults for those left out.

    Raises UserError: which input, what it is, and what was expected.
    """
    names = {tensor.name for tensor in spec.inputs}
    for name in request:
        if name not in names:
            raise UserError(
                "The model %(model)s has no input %(name)s; expected %(known)s.",
                model=model,
                name=name,
                known=", ".join(sorted(names)),
            )
    inputs = {tensor.name: validate_input(model, tensor, request) for tensor in spec.inputs}
    rows = {tensor.name: len(inputs[tensor.name]) for tensor in spec.inputs if tensor.counts_rows}
    if len(set(rows.values())) > 1:
        raise UserError(
            "The inputs of the model %(model)s have different numbers of rows (%(rows)s); "
            "expected as many in each.",
            model=model,
            rows=", ".join(f"{name} {count}" for name, count in rows.items()),
        )
    return inputs


def validate_input(model: str, tensor: TensorSpec, request: Arrays) -> Array:
    """One input of a request, or its default. Raises UserError."""
    if tensor.name not in request and tensor.default is None:
        raise UserError(
            "The model %(model)s needs the input %(name)s, %(expected)s.",
            model=model,
            name=tensor.name,
            expected=str(tensor),
        )
    if tensor.name in request:
        array = np.asarray(request[tensor.name])
    else:
        array = np.asarray(tensor.default, DATATYPES[tensor.datatype])
    if array.dtype.kind in "SU":
        array = array.astype(object)
    if not tensor.accepts(array):
        raise UserError(
            "The input %(name)s of the model %(model)s is %(actual)s; expected %(expected)s.",
            model=model,
            name=tensor.name,
            actual=describe_array(array),
            expected=str(tensor),
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise UserError(
            "The input %(name)s of the model %(model)s holds NaN or infinity; expected numbers.",
            model=model,
            name=tensor.name,
        )
    return array


def describe_array(array: Array) -> str:
    return f"{DATATYPE_NAMES.get(array.dtype, array.dtype)} {list(array.shape)}"


def count_rows(spec: ModelSignature, inputs: Arrays) -> int:
    """How many rows a request has; 1 when no input counts rows."""
    return next((len(inputs[tensor.name]) for tensor in spec.inputs if tensor.counts_rows), 1)


def validate_outputs(
    spec: ModelSignature, inputs: Arrays, outputs: Arrays, *, finite: bool = True
) -> dict[str, Array]:
    """The outputs, if they fit the signature: as many rows as went in, and finite numbers.

    Raises ModelError. `finite=False` lets NaN and infinity pass.
    """
    rows = count_rows(spec, inputs)
    for tensor in spec.outputs:
        array = outputs.get(tensor.name)
        if (
            array is None
            or not tensor.accepts(array)
            or (tensor.counts_rows and len(array) != rows)
        ):
            raise ModelError(
                "Its output %(name)s is %(actual)s; expected %(expected)s with %(rows)s rows.",
                name=tensor.name,
                actual="absent" if array is None else describe_array(array),
                expected=str(tensor),
                rows=rows,
            )
        if finite and array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ModelError("Its output %(name)s holds NaN or infinity.", name=tensor.name)
    return {tensor.name: outputs[tensor.name] for tensor in spec.outputs}


def interface_difference(first: ModelSignature, second: ModelSignature) -> str | None:
    """What differs in the inputs or outputs of two versions; None when both can be called alike."""
    for side in ("inputs", "outputs"):
        tensors, others = (
            {tensor.name: str(tensor) for tensor in getattr(signature, side)}
            for signature in (first, second)
        )
        for name in sorted({*tensors, *others}):
            if tensors.get(name) != others.get(name):
                return f"{name}: {tensors.get(name, 'absent')}, {others.get(name, 'absent')}"
    return None


def answer_agreement(runner: Runner, champion: Arrays, challenger: Arrays) -> float:
    """How far two answers to one request agree, 0 to 1.

    By the runner's own `agreement`, or by the first output that can be compared. `ids`: the share
    that is in both. `scores` of classes: how often the best class is the same. Other numbers: the
    mean cosine of the rows.
    """
    own = getattr(runner, "agreement", None)
    if own is not None:
        return float(own(champion, challenger))
    for name in sorted(champion, key=lambda name: (name != "ids", name != "scores")):
        first, second = champion[name], challenger.get(name)
        if (
            second is None
            or first.dtype.kind not in "fiu"
            or first.shape != second.shape
            or first.ndim < 2
            or not first.size
        ):
            continue
        if name == "ids":
            return float(np.mean([id_overlap(a, b) for a, b in zip(first, second, strict=True)]))
        if name == "scores":
            return float(np.mean(first.argmax(axis=-1) == second.argmax(axis=-1)))
        return mean_cosine(first, second)
    return 1.0


def id_overlap(first: Array, second: Array) -> float:
    ids = {*first.tolist()}
    return len(ids & {*second.tolist()}) / max(len(ids), 1)


def mean_cosine(first: Array, second: Array) -> float:
    """Mean cosine of the rows, between 0 and 1; rows without length count as equal."""
    a, b = (array.reshape(len(array), -1).astype(np.float64) for array in (first, second))
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    cosines = (a * b).sum(axis=1) / np.where(lengths > 0, lengths, 1)
    return float(np.clip(np.where(lengths > 0, cosines, 1.0), 0, 1).mean())
