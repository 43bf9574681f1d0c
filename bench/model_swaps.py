"""Swapping a model under load: requests that fail, and the 99th percentile with swaps beside that without, in turns on the same server.

The server is `tanuki models` as a program, asked over HTTP with binary tensors by a few connections of another process, each of which asks at
its own steady pace: a percentile of those who ask as fast as they can would tell only how full the machine is. A swap changes the plan, as a release
does; the server reads it, loads the other version, lets it answer once, and changes over. The machine's own hiccups are in both halves.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

import tanuki.app.metadata  # every table
from tanuki.app import bootstrap
from tanuki.errors import UserError
from tanuki.platform.mlops import rollout
from tanuki.platform.serving import client
from tanuki.settings import Settings

RESULTS = Path(__file__).parent / "results" / "models_swaps.json"
MODEL = "bench"
WIDE, LAYERS = 768, 6  # 14 MB of weights, as many as a network of the mobile class


def write_version(folder: Path, seed: int) -> None:
    """A version: some layers whose answer begins with its seed."""
    random = np.random.default_rng(seed)
    nodes, weights, last = [], [], "x"
    for layer in range(LAYERS):
        values = (random.standard_normal((WIDE, WIDE)) / WIDE**0.5).astype(np.float32)
        weights.append(
            helper.make_tensor(
                f"w{layer}", TensorProto.FLOAT, values.shape, values.tobytes(), raw=True
            )
        )
        nodes += [
            helper.make_node("MatMul", [last, f"w{layer}"], [f"m{layer}"]),
            helper.make_node("Relu", [f"m{layer}"], [f"r{layer}"]),
        ]
        last = f"r{layer}"
    weights.append(helper.make_tensor("seed", TensorProto.FLOAT, [1], [float(seed)]))
    nodes += [
        helper.make_node("Mul", [last, "zero"], ["none"]),
        helper.make_node("Add", ["none", "seed"], ["y"]),
    ]
    weights.append(helper.make_tensor("zero", TensorProto.FLOAT, [1], [0.0]))
    sides = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", WIDE]) for name in ("x", "y")
    ]
    made = helper.make_model(
        helper.make_graph(nodes, "bench", sides[:1], sides[1:], weights),
        opset_imports=[helper.make_opsetid("", 17)],
    )
    made.ir_version = 9
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(made.SerializeToString())
    told = {
        "kind": "onnx",
        "max_batch": 8,
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, WIDE]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, WIDE]}],
    }
    (folder / "model.json").write_text(json.dumps(told), encoding="utf-8")
    onnx.checker.check_model(made)


def ask(
    url: str, connections: int, each_ms: float, seconds: float
) -> tuple[list[float], list[str]]:
    """Milliseconds from when each request was due to its answer, and what failed; every answer must be one version's own."""
    taken: list[float] = []
    failed: list[str] = []
    asked = client.connect_model_server(url)
    inputs = {"x": np.random.default_rng(0).standard_normal((1, WIDE)).astype(np.float32)}
    begin = time.perf_counter() + 0.1

    def one(number: int) -> None:
        due = begin + number * each_ms / 1000 / connections
        while due < begin + seconds:
            time.sleep(max(0.0, due - time.perf_counter()))
            try:
                answer = asked.infer(MODEL, inputs)
                if not (answer.outputs["y"] == float(answer.version)).all():
                    failed.append(f"the answer of version {answer.version} is another's")
            except UserError as error:
                failed.append(str(error))
            taken.append((time.perf_counter() - due) * 1000)
            due += each_ms / 1000

    threads = [threading.Thread(target=one, args=(number,)) for number in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    asked.close()
    return taken, failed


def measure(
    home: str, swaps: int, rounds: int, connections: int, each_ms: float, every: float
) -> dict[str, float]:
    """Phases with and without swaps, in turns."""
    res = bootstrap.create_resources(Settings(home=Path(home)))
    for version in (1, 2):
        write_version(Path(f"{res.registry.files.url}/{MODEL}/{version}"), version)
    files = {str(version): f"{MODEL}/{version}" for version in (1, 2)}

    def swap(number: int) -> None:
        with (
            res.db.write() as db,
            rollout.change_rollout(db, MODEL, datetime.now(UTC)) as row,
        ):
            row.files, row.champion = files, str(number % 2 + 1)

    swap(0)
    environment = {
        **os.environ,
        "TANUKI_HOME": home,
        "TANUKI_MODEL_SERVER_PORT": "0",
        "TANUKI_MODEL_SERVER_GRPC_PORT": "0",
        "TANUKI_PREDICTION_SAMPLE_RATE": "0",
    }
    server = subprocess.Popen(
        [sys.executable, "-m", "tanuki", "models"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert server.stdout is not None
    try:
        found = re.match(r"Models are at (http://\S+)/v2", server.stdout.readline())
        assert found is not None
        seconds, done = swaps / rounds * every, 0
        times: dict[bool, list[float]] = {False: [], True: []}
        failed: list[str] = []
        for turn in range(2 * rounds):
            swapping = turn % 2 == 1
            asking = subprocess.Popen(
                [
                    sys.executable,
                    __file__,
                    "--ask",
                    found[1],
                    str(connections),
                    str(each_ms),
                    str(seconds),
                ],
                stdout=subprocess.PIPE,
                text=True,
            )
            while swapping and asking.poll() is None and done < swaps * (turn + 1) // (2 * rounds):
                time.sleep(every)
                done += 1
                swap(done)
            told = json.loads(asking.communicate()[0])
            times[swapping] += told["taken"]
            failed += told["failed"]
    finally:
        server.terminate()
        server.wait(30)
        bootstrap.close_resources(res)
    still, swapped = (statistics.quantiles(times[which], n=100) for which in (False, True))
    return {
        "swaps": done,
        "requests": sum(map(len, times.values())),
        "failed": len(failed),
        "p50_ms": round(still[49], 2),
        "p50_swapping_ms": round(swapped[49], 2),
        "p99_ms": round(still[98], 2),
        "p99_swapping_ms": round(swapped[98], 2),
        "times_p99": round(swapped[98] / still[98], 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--swaps", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument(
        "--each-ms", type=float, default=40.0, help="a connection asks once in so many milliseconds"
    )
    parser.add_argument("--every", type=float, default=1.5, help="seconds between swaps")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        row = measure(
            home, given.swaps, given.rounds, given.connections, given.each_ms, given.every
        )
    print("  ".join(f"{key} {value}" for key, value in row.items()))
    if given.swaps >= 50:
        RESULTS.write_text(json.dumps(row, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--ask"]:
        taken, failed = ask(sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), float(sys.argv[5]))
        print(json.dumps({"taken": taken, "failed": failed}))
    else:
        main()

assert tanuki.app.metadata
