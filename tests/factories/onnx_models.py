"""Small real graphs for tests of serving: good ones, and ones that are bad in a way that people know; and a place where they are served."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from tanuki.platform.mlops import rollout
from tanuki.platform.mlops.registry import Registry
from tanuki.platform.mlops.tables import Release, Serving
from tanuki.platform.serving.server import Models

OPSET, IR = 17, 9


def graph(
    into: Path,
    *,
    scale: float = 2.0,
    dimension: int = 3,
    nan: bool = False,
    slow: int = 0,
    fails: bool = False,
    **described: Any,
) -> Path:
    """A version's folder: `x` FP32 [-1, 3] in; `y` FP32 [-1, dimension], which is x · W · scale, and `scores`, its softmax, out.

    `slow` multiplies so many large matrices besides; `nan` divides by zero where x is 0, which an example for warming up does not show;
    `fails` breaks at the run when the first number is above 100.
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
    made = h.make_model(
        h.make_graph(nodes, "g", [h.make_tensor_value_info("x", T.FLOAT, ["n", 3])], outs, known),
        opset_imports=[h.make_opsetid("", OPSET)],
    )
    made.ir_version = IR
    onnx.checker.check_model(made)
    (into / "model.onnx").write_bytes(made.SerializeToString())
    told = {
        "kind": "onnx",
        "max_batch": 8,
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 3]}],
        "outputs": [
            {"name": name, "datatype": "FP32", "shape": [-1, dimension]} for name in ("y", "scores")
        ],
        **described,
    }
    (into / "model.json").write_text(json.dumps(told), "utf-8")
    return into


def rows(*values: float) -> dict[str, Any]:
    """Inputs: a row of three equal numbers for each value."""
    return {"x": np.repeat(np.array(values, np.float32)[:, None], 3, axis=1)}


NOW = datetime(2026, 1, 1, tzinfo=UTC)
M = "m"


class Place:
    """A database with plans and a folder with versions, and the models on them. Nothing of MLflow is needed to serve."""

    def __init__(self, database, folder: Path) -> None:
        self.database, self.folder = database, folder
        self.registry = Registry(f"sqlite:///{folder / 'mlflow.db'}", str(folder / "artifacts"))
        self.made: list[Models] = []

    def version(self, number: str, **how) -> str:
        """Write a version's files."""
        graph(self.folder / "artifacts" / M / number, **how)
        return number

    def plan(self, champion: str, challenger: str | None = None, **values) -> Serving:
        files = {each: f"{M}/{each}" for each in (champion, challenger) if each}
        with self.database.write() as db:
            return rollout.put(
                db, M, NOW, files=files, champion=champion, challenger=challenger, **values
            )

    def released(self, version: str, previous: str | None) -> None:
        with self.database.write() as db:
            db.add(
                Release(
                    model=M,
                    version=version,
                    previous=previous,
                    kind="gate",
                    verdict_id=None,
                    at=NOW,
                    by="ana",
                    why=None,
                )
            )

    def models(self, **how) -> Models:
        self.made.append(
            Models(
                self.database,
                self.registry,
                self.folder / "cache",
                **{"process": f"p{len(self.made)}", "kept": 0.0, **how},
            )
        )
        return self.made[-1]

    def now(self) -> Serving:
        with self.database.read() as db:
            found = rollout.plan(db, M)
        assert found is not None
        return found
