"""Small ONNX models for tests of serving, good and spoilt ones, and a host that serves them."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from tanuki.platform.mlops import rollout
from tanuki.platform.mlops.registry import Registry
from tanuki.platform.mlops.tables import Release, ReleaseKind, Rollout
from tanuki.platform.object_store import ObjectStore
from tanuki.platform.serving.server import ModelServer

OPSET, IR = 17, 9


def write_onnx_model(
    into: Path,
    *,
    scale: float = 2.0,
    dimension: int = 3,
    nan: bool = False,
    slow: int = 0,
    fails: bool = False,
    **description: Any,
) -> Path:
    """Write a version's folder: input `x` FP32 [-1, 3]; outputs `y` and `scores`.

    `y` FP32 [-1, dimension] is x · W · scale, `scores` its softmax. `slow` multiplies so many large
    matrices as well. `nan` divides by zero, which only an example for warming up shows. `fails`
    breaks the run when the first number is above 100.
    """
    import onnx
    from onnx import TensorProto as T
    from onnx import helper as h

    into.mkdir(parents=True, exist_ok=True)
    weights = (np.arange(3 * dimension, dtype=np.float32).reshape(3, dimension) + 1) * scale
    nodes = [h.make_node("MatMul", ["x", "w"], ["m"])]
    known = [h.make_tensor("w", T.FLOAT, weights.shape, weights.ravel())]
    last = "m"
    if nan:
        nodes += [
            h.make_node("Sub", ["x", "x"], ["zero"]),
            h.make_node("Div", ["zero", "zero"], ["none"]),
            h.make_node("ReduceSum", ["none"], ["bad"]),
        ]
        nodes += [h.make_node("Add", [last, "bad"], ["n"])]
        last = "n"
    if slow:
        side = 128
        known += [
            h.make_tensor("big", T.FLOAT, (side, side), np.full(side * side, 1 / side, np.float32))
        ]
        known += [
            h.make_tensor("none0", T.FLOAT, (1,), [0.0]),
            h.make_tensor("ones", T.FLOAT, (3, side), np.ones(3 * side, np.float32)),
        ]
        nodes += [h.make_node("MatMul", ["x", "ones"], ["s0"])]
        side_rows = h.make_tensor("tile", T.INT64, (2,), [side, 1])
        known += [side_rows]
        nodes += [h.make_node("Tile", ["s0", "tile"], ["s1"])]
        at = "s1"
        for number in range(slow):
            nodes += [h.make_node("MatMul", [at, "big"], [f"b{number}"])]
            at = f"b{number}"
        nodes += [
            h.make_node("ReduceMean", [at], ["mean"]),
            h.make_node("Mul", ["mean", "none0"], ["nothing"]),
            h.make_node("Add", [last, "nothing"], ["l"]),
        ]
        last = "l"
    if fails:  # a place beyond the end, for large numbers
        known += [
            h.make_tensor("limit", T.FLOAT, (1,), [100.0]),
            h.make_tensor("row", T.FLOAT, (1,), [0.0]),
        ]
        nodes += [
            h.make_node("ReduceMax", ["x"], ["most"], keepdims=0),
            h.make_node("Div", ["most", "limit"], ["ratio"]),
            h.make_node("Cast", ["ratio"], ["place"], to=T.INT64),
        ]
        nodes += [
            h.make_node("Gather", ["row", "place"], ["picked"]),
            h.make_node("Add", [last, "picked"], ["f"]),
        ]
        last = "f"
    nodes += [h.make_node("Identity", [last], ["y"]), h.make_node("Softmax", [last], ["scores"])]
    outs = [h.make_tensor_value_info(name, T.FLOAT, ["n", dimension]) for name in ("y", "scores")]
    model = h.make_model(
        h.make_graph(nodes, "g", [h.make_tensor_value_info("x", T.FLOAT, ["n", 3])], outs, known),
        opset_imports=[h.make_opsetid("", OPSET)],
    )
    model.ir_version = IR
    onnx.checker.check_model(model)
    (into / "model.onnx").write_bytes(model.SerializeToString())
    content = {
        "kind": "onnx",
        "max_batch": 8,
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 3]}],
        "outputs": [
            {"name": name, "datatype": "FP32", "shape": [-1, dimension]} for name in ("y", "scores")
        ],
        **description,
    }
    (into / "model.json").write_text(json.dumps(content), "utf-8")
    return into


def row_inputs(*values: float) -> dict[str, Any]:
    """Inputs: a row of three equal numbers for each value."""
    return {"x": np.repeat(np.array(values, np.float32)[:, None], 3, axis=1)}


NOW = datetime(2026, 1, 1, tzinfo=UTC)
MODEL_NAME = "m"


class ModelHost:
    """A database with rollouts, a folder with versions, and model servers on both.

    Nothing of MLflow is needed to serve.
    """

    def __init__(self, database, folder: Path) -> None:
        self.database, self.folder = database, folder
        artifacts = ObjectStore(str(folder / "artifacts"))
        self.registry = Registry(f"sqlite:///{folder / 'mlflow.db'}", artifacts)
        self.servers: list[ModelServer] = []

    def write_version(self, number: str, **options) -> str:
        """Write a version's files."""
        write_onnx_model(self.folder / "artifacts" / MODEL_NAME / number, **options)
        return number

    def set_rollout(
        self, champion: str, challenger: str | None = None, *, bounds=None, **values
    ) -> None:
        versions = [version for version in (champion, challenger) if version]
        with (
            self.database.write() as db,
            rollout.change_rollout(db, MODEL_NAME, NOW, bounds=bounds) as row,
        ):
            prefixes = {version: f"{MODEL_NAME}/{version}" for version in versions}
            row.files = {**row.files, **prefixes}
            row.champion, row.challenger = champion, challenger
            for name, value in values.items():
                setattr(row, name, value)

    def record_release(self, version: str, previous: str | None) -> None:
        with self.database.write() as db:
            db.add(
                Release(
                    model=MODEL_NAME,
                    version=version,
                    previous=previous,
                    kind=ReleaseKind.GATE,
                    verdict_id=None,
                    at=NOW,
                    by="ana",
                    why=None,
                )
            )

    def start_models(self, **options) -> ModelServer:
        """A model server; it keeps no predictions unless told."""
        options = {"process": f"p{len(self.servers)}", "sample_rate": 0.0, **options}
        self.servers.append(
            ModelServer(self.database, self.registry, self.folder / "cache", **options)
        )
        return self.servers[-1]

    def load_rollout(self) -> Rollout:
        with self.database.read() as db:
            row = rollout.load_rollout(db, MODEL_NAME)
        assert row is not None
        return row
