"""What runs a version: kinds of models by name, what goes in and comes out, and the sentence when it is something else. Knows no server and no plan."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tanuki.errors import NotFound, UserError
from tanuki.platform.object_store import Objects

Array = NDArray[Any]
Arrays = Mapping[str, Array]

DESCRIBED = "model.json"
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
NAMES = {dtype: name for name, dtype in DATATYPES.items()}
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
    """A model gave no answer that can be used: it failed, or what came out is not what its description says. 503."""

    status = 503


class TooSlow(ModelError):
    """A model did not answer within its time. 504."""

    status = 504


class Busy(ModelError):
    """More requests wait for a model than it takes. 503."""


@dataclass(frozen=True)
class Tensor:
    """An input or output: its name, the protocol's name of its type, and its shape, where -1 is any length; the first -1 counts rows."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    default: Any = None  # of an input that may be left out

    @property
    def rows(self) -> bool:
        """Whether its first length counts rows, so that several requests can be put one after the other."""
        return bool(self.shape) and self.shape[0] == -1

    def takes(self, array: Array) -> bool:
        """Whether an array is such a tensor."""
        same = len(array.shape) == len(self.shape)
        fits = same and all(
            wanted in (-1, found) for wanted, found in zip(self.shape, array.shape, strict=True)
        )
        return fits and NAMES.get(array.dtype) == self.datatype

    def __str__(self) -> str:
        return f"{self.datatype} {list(self.shape)}"


@dataclass(frozen=True)
class Spec:
    """What a version takes and gives, and how it may be used."""

    kind: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    max_batch: int = 1  # rows of several requests that share one run; 1: each has its own
    concurrency: int = 2  # runs at a time
    seconds: float = 10.0  # within which a request must be answered
    most_waiting: int = 256  # requests, before the next are refused

    @classmethod
    def read(cls, described: Mapping[str, Any]) -> "Spec":
        """From what model.json says."""
        limits = {
            name: described[name]
            for name in ("max_batch", "concurrency", "seconds", "most_waiting")
            if name in described
        }
        return cls(
            described["kind"], tensors(described["inputs"]), tensors(described["outputs"]), **limits
        )


def tensors(told: Sequence[Mapping[str, Any]]) -> tuple[Tensor, ...]:
    """Tensors as model.json tells them."""
    return tuple(
        Tensor(each["name"], each["datatype"], tuple(each["shape"]), each.get("default"))
        for each in told
    )


class Runner(Protocol):
    """A version that is loaded. `run` may be called from several threads, and gives for the same inputs the same bytes.

    A runner may also have `agreement(champion, challenger)`: how far two answers to one request agree, 0 to 1.
    """

    spec: Spec

    def run(self, inputs: Arrays) -> dict[str, Array]: ...


class Onnx:
    """A graph on ONNX Runtime. One thread a run: runs beside each other use the cores better, and the bytes stay the same."""

    def __init__(self, folder: Path, described: Mapping[str, Any]) -> None:
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as faults

        self.faults = tuple(
            var
            for var in vars(faults).values()
            if isinstance(var, type) and issubclass(var, Exception)
        )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(described.get("threads", 1))
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # what goes wrong is said in our own sentence
        try:
            self.session = onnxruntime.InferenceSession(
                str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
            )
        except self.faults as error:
            raise ModelError(
                "Its graph cannot be read (%(reason)s).", reason=brief(error)
            ) from error
        inputs, outputs = (
            tensors(described[side]) if side in described else self.told(side)
            for side in ("inputs", "outputs")
        )
        self.names = [output.name for output in outputs]
        self.spec = Spec.read(
            {
                **described,
                "inputs": [vars(each) for each in inputs],
                "outputs": [vars(output) for output in outputs],
            }
        )

    def told(self, side: str) -> tuple[Tensor, ...]:
        """The graph's own inputs or outputs; a length without a number is any."""
        nodes = self.session.get_inputs() if side == "inputs" else self.session.get_outputs()
        return tuple(
            Tensor(
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
            raise ModelError("Its graph failed (%(reason)s).", reason=brief(error)) from error


KINDS: dict[str, Callable[[Path, dict[str, Any]], Runner]] = {"onnx": Onnx}


def brief(error: BaseException) -> str:
    """The first line of an error, as far as people read."""
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


# ---- from its files ------------------------------------------------------------------------------------------------


def described(files: Objects, prefix: str) -> dict[str, Any] | None:
    """What a version's model.json says; None when it has none, and then no server answers with it. Raises ModelError."""
    try:
        told: dict[str, Any] = json.loads(files.get(f"{prefix}/{DESCRIBED}"))
    except NotFound:
        return None
    except ValueError as error:
        raise ModelError("Its model.json is not JSON (%(reason)s).", reason=brief(error)) from error
    return told


def folder_of(files: Objects, prefix: str, cache: Path) -> Path:
    """A folder with a version's files: where they are, or a copy. A version's files never change."""
    if files.local:
        return Path(files.path(prefix))
    folder = cache / prefix
    if not (folder / DESCRIBED).exists():  # copied last
        for key in sorted(files.list(prefix), key=lambda key: key.endswith(f"/{DESCRIBED}")):
            Objects(str(cache)).put(key, files.get(key))
    return folder


def opened(files: Objects, prefix: str, cache: Path) -> Runner:
    """A version, loaded and warmed up: it has answered before anybody asks. Raises ModelError."""
    told = described(files, prefix)
    if told is None:
        raise ModelError("It has no model.json, which says how it is run.")
    if told.get("kind") not in KINDS:
        raise ModelError(
            "Its kind %(kind)s is not known; expected one of %(known)s.",
            kind=told.get("kind"),
            known=", ".join(KINDS),
        )
    folder = folder_of(files, prefix, cache)
    try:
        runner = KINDS[told["kind"]](folder, told)
        warm_up(runner, told.get("warm_up"))
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise ModelError(
            "Its files are not what its model.json says (%(reason)s).",
            reason=f"{type(error).__name__}: {brief(error)}",
        ) from error
    return runner


def warm_up(runner: Runner, example: Mapping[str, Any] | None) -> None:
    """Run a version once with its own example, whose answer must be good, or with zeros, whose answer need not be a number."""
    inputs = {}
    for each in runner.spec.inputs:
        given = (example or {}).get(each.name, each.default)
        shape = [1 if n == -1 else n for n in each.shape]
        zeros = (
            np.full(shape, b"", object)
            if each.datatype == "BYTES"
            else np.zeros(shape, DATATYPES[each.datatype])
        )
        inputs[each.name] = zeros if given is None else np.asarray(given, DATATYPES[each.datatype])
    checked_outputs(
        runner.spec,
        checked_inputs("it", runner.spec, inputs),
        runner.run(inputs),
        numbers=example is not None,
    )


# ---- what goes in and what comes out -------------------------------------------------------------------------------


def checked_inputs(model: str, spec: Spec, given: Arrays) -> dict[str, Array]:
    """The inputs as the version takes them, with the defaults of those left out. Raises UserError: which, what was found, what was expected."""
    known = {each.name for each in spec.inputs}
    for name in given:
        if name not in known:
            raise UserError(
                "The model %(model)s has no input %(name)s; expected %(known)s.",
                model=model,
                name=name,
                known=", ".join(sorted(known)),
            )
    found: dict[str, Array] = {}
    for each in spec.inputs:
        if each.name not in given and each.default is None:
            raise UserError(
                "The model %(model)s needs the input %(name)s, %(wanted)s.",
                model=model,
                name=each.name,
                wanted=str(each),
            )
        array = (
            np.asarray(given[each.name])
            if each.name in given
            else np.asarray(each.default, DATATYPES[each.datatype])
        )
        if array.dtype.kind in "SU":
            array = array.astype(object)
        if not each.takes(array):
            raise UserError(
                "The input %(name)s of the model %(model)s is %(found)s; expected %(wanted)s.",
                model=model,
                name=each.name,
                found=f"{NAMES.get(array.dtype, array.dtype)} {list(array.shape)}",
                wanted=str(each),
            )
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise UserError(
                "The input %(name)s of the model %(model)s holds what is not a number; expected numbers.",
                model=model,
                name=each.name,
            )
        found[each.name] = array
    if len({len(found[each.name]) for each in spec.inputs if each.rows}) > 1:
        raise UserError(
            "The inputs of the model %(model)s have different numbers of rows (%(found)s); expected as many in each.",
            model=model,
            found=", ".join(
                f"{each.name} {len(found[each.name])}" for each in spec.inputs if each.rows
            ),
        )
    return found


def rows_of(spec: Spec, inputs: Arrays) -> int:
    """How many rows a request has; one when nothing counts rows."""
    return next((len(inputs[each.name]) for each in spec.inputs if each.rows), 1)


def checked_outputs(
    spec: Spec, inputs: Arrays, outputs: Arrays, *, numbers: bool = True
) -> dict[str, Array]:
    """The outputs, if they are what the description says: as many rows as went in, and numbers. Raises ModelError."""
    rows = rows_of(spec, inputs)
    for output in spec.outputs:
        array = outputs.get(output.name)
        if array is None or not output.takes(array) or (output.rows and len(array) != rows):
            found = (
                "absent"
                if array is None
                else f"{NAMES.get(array.dtype, array.dtype)} {list(array.shape)}"
            )
            raise ModelError(
                "Its output %(name)s is %(found)s; expected %(wanted)s with %(rows)s rows.",
                name=output.name,
                found=found,
                wanted=str(output),
                rows=rows,
            )
        if numbers and array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ModelError("Its output %(name)s holds what is not a number.", name=output.name)
    return {output.name: outputs[output.name] for output in spec.outputs}


def same_shape(one: Spec, other: Spec) -> str | None:
    """What differs in what two versions take and give, as a phrase; None when one can answer for the other."""
    for side in ("inputs", "outputs"):
        ours, theirs = (
            {each.name: str(each) for each in getattr(spec, side)} for spec in (one, other)
        )
        for name in sorted({*ours, *theirs}):
            if ours.get(name) != theirs.get(name):
                return f"{name}: {ours.get(name, 'absent')}, {theirs.get(name, 'absent')}"
    return None


def agreement(runner: Runner, champion: Arrays, challenger: Arrays) -> float:
    """How far two answers to one request agree, 0 to 1: by the kind's own rule, or by the first output that can be compared.

    Ids: how many are in both. Scores of classes: how often the best is the same. Other numbers: the cosine of the rows.
    """
    own = getattr(runner, "agreement", None)
    if own is not None:
        return float(own(champion, challenger))
    for name in sorted(champion, key=lambda name: (name != "ids", name != "scores")):
        ours, theirs = champion[name], challenger.get(name)
        if (
            theirs is None
            or ours.dtype.kind not in "fiu"
            or ours.shape != theirs.shape
            or ours.ndim < 2
            or not ours.size
        ):
            continue
        if name == "ids":
            return float(
                np.mean(
                    [
                        len({*a.tolist()} & {*b.tolist()}) / max(len({*a.tolist()}), 1)
                        for a, b in zip(ours, theirs, strict=True)
                    ]
                )
            )
        if name == "scores":
            return float(np.mean(ours.argmax(axis=-1) == theirs.argmax(axis=-1)))
        a, b = (each.reshape(len(each), -1).astype(np.float64) for each in (ours, theirs))
        both = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
        return float(
            np.clip(
                np.where(both > 0, (a * b).sum(axis=1) / np.where(both > 0, both, 1), 1.0), 0, 1
            ).mean()
        )
    return 1.0
