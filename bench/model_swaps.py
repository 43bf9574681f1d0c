"""Releases under load: requests that fail, and p99 with swaps of the version beside that without.

    python -m bench.model_swaps [--swaps 50] [--rounds 5] [--connections 4]

The server is `tanuki models` as a program. Another process sends binary tensors over HTTP on a few
connections, each at its own steady rate: the percentiles of clients that send as fast as they can
would only tell how busy the machine is. A swap changes the rollout, as a release does: the server
loads the other version, lets it answer once, and changes over. Phases with and without swaps take
turns on the same server, so that both have the machine's own pauses. Target: p99 at most 1.2 ×.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

import tanuki.app.metadata  # noqa: F401 every table
from bench.lib.model_server import start_model_server
from bench.lib.reporting import format_figures, print_target, write_results
from bench.lib.timing import quantile, run_threads
from tanuki.app import bootstrap
from tanuki.errors import UserError
from tanuki.platform.mlops import rollout
from tanuki.platform.mlops.runtimes import Arrays
from tanuki.platform.resources import Resources
from tanuki.platform.serving import client
from tanuki.platform.serving.inference import Inference
from tanuki.settings import Settings

MODEL = "bench"
WIDTH, LAYERS = 768, 6  # 14 MB of weights, as many as a mobile-sized network
VERSIONS = (1, 2)
MAX_P99_RATIO = 1.2
MAX_BATCH = 8
REPORTED_SWAPS = 50  # results of a smaller run are not written


@dataclass(frozen=True)
class Load:
    """What the clients send: each connection one request every `interval_ms`."""

    connections: int
    interval_ms: float


@dataclass
class Requests:
    """Milliseconds from when each request was due to its answer, and the errors."""

    times_ms: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


# ---- the model -----------------------------------------------------------------------------------


def write_version(folder: Path, version: int) -> None:
    """A version with some layers of random weights; every number of its answer is `version`."""
    random = np.random.default_rng(version)
    nodes, constants, last = [], [], "x"
    for layer in range(LAYERS):
        weights = (random.standard_normal((WIDTH, WIDTH)) / WIDTH**0.5).astype(np.float32)
        constants.append(
            helper.make_tensor(
                f"w{layer}", TensorProto.FLOAT, weights.shape, weights.tobytes(), raw=True
            )
        )
        nodes += [
            helper.make_node("MatMul", [last, f"w{layer}"], [f"m{layer}"]),
            helper.make_node("Relu", [f"m{layer}"], [f"r{layer}"]),
        ]
        last = f"r{layer}"
    constants += [
        helper.make_tensor("version", TensorProto.FLOAT, [1], [float(version)]),
        helper.make_tensor("zero", TensorProto.FLOAT, [1], [0.0]),
    ]
    nodes += [
        helper.make_node("Mul", [last, "zero"], ["none"]),
        helper.make_node("Add", ["none", "version"], ["y"]),
    ]
    inputs, outputs = (
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", WIDTH])] for name in "xy"
    )
    model = helper.make_model(
        helper.make_graph(nodes, "bench", inputs, outputs, constants),
        opset_imports=[helper.make_opsetid("", 17)],
    )
    model.ir_version = 9
    onnx.checker.check_model(model)
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    signature = {
        "kind": "onnx",
        "max_batch": MAX_BATCH,
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, WIDTH]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, WIDTH]}],
    }
    (folder / "model.json").write_text(json.dumps(signature), encoding="utf-8")


def release_version(res: Resources, version: int) -> None:
    with (
        res.db.write() as db,
        rollout.change_rollout(db, MODEL, datetime.now(UTC)) as model_rollout,
    ):
        model_rollout.files = {str(number): f"{MODEL}/{number}" for number in VERSIONS}
        model_rollout.champion = str(version)


# ---- the clients' process ------------------------------------------------------------------------


def send_requests(url: str, load: Load, seconds: float) -> Requests:
    """Send requests for a while; every answer must be that of one version."""
    requests, server = Requests(), client.connect_model_server(url)
    inputs = {"x": np.random.default_rng(0).standard_normal((1, WIDTH)).astype(np.float32)}
    start = time.perf_counter() + 0.1
    interval = load.interval_ms / 1000

    def send_from_connection(number: int) -> None:
        due = start + number * interval / load.connections
        while due < start + seconds:
            time.sleep(max(0.0, due - time.perf_counter()))
            error = find_error(server, inputs)
            if error:
                requests.errors.append(error)
            requests.times_ms.append((time.perf_counter() - due) * 1000)
            due += interval

    run_threads(
        [lambda number=number: send_from_connection(number) for number in range(load.connections)]
    )
    server.close()
    return requests


def find_error(server: Inference, inputs: Arrays) -> str | None:
    """Send one request; why its answer is wrong, if it is."""
    try:
        answer = server.infer(MODEL, inputs)
    except UserError as error:
        return str(error)
    if (answer.outputs["y"] == float(answer.version)).all():
        return None
    return f"the answer of version {answer.version} is another's"


# ---- the measurement -----------------------------------------------------------------------------


def start_clients(url: str, load: Load, seconds: float) -> subprocess.Popen[str]:
    numbers = (load.connections, load.interval_ms, seconds)
    return subprocess.Popen(
        [sys.executable, "-m", __spec__.name, "--clients", url, *map(str, numbers)],
        stdout=subprocess.PIPE,
        text=True,
    )


def measure_swaps(home: str, load: Load, options: argparse.Namespace) -> dict[str, float]:
    """Phases with and without swaps, in turns."""
    res = bootstrap.create_resources(Settings(home=Path(home)))
    for version in VERSIONS:
        write_version(Path(f"{res.registry.files.url}/{MODEL}/{version}"), version)
    release_version(res, VERSIONS[0])
    seconds, swaps = options.swaps / options.rounds * options.swap_seconds, 0
    steady, swapping = Requests(), Requests()
    try:
        with start_model_server(home) as url:
            for number in range(options.rounds):
                receive_requests(start_clients(url, load, seconds), steady)
                clients = start_clients(url, load, seconds)
                while (
                    clients.poll() is None
                    and swaps < (number + 1) * options.swaps // options.rounds
                ):
                    time.sleep(options.swap_seconds)
                    swaps += 1
                    release_version(res, VERSIONS[swaps % 2])
                receive_requests(clients, swapping)
    finally:
        bootstrap.close_resources(res)
    p99, p99_swaps = (quantile(phase.times_ms, 0.99) for phase in (steady, swapping))
    return {
        "swaps": swaps,
        "requests": len(steady.times_ms) + len(swapping.times_ms),
        "failed": len(steady.errors) + len(swapping.errors),
        "p50_ms": round(quantile(steady.times_ms, 0.5), 2),
        "p50_swaps_ms": round(quantile(swapping.times_ms, 0.5), 2),
        "p99_ms": round(p99, 2),
        "p99_swaps_ms": round(p99_swaps, 2),
        "p99_ratio": round(p99_swaps / p99, 2),
    }


def receive_requests(clients: subprocess.Popen[str], requests: Requests) -> None:
    """Wait for the clients' process and add what it measured."""
    output = json.loads(clients.communicate()[0])
    requests.times_ms += output["times_ms"]
    requests.errors += output["errors"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--swaps", type=int, default=REPORTED_SWAPS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument(
        "--interval-ms", type=float, default=40.0, help="between two requests of a connection"
    )
    parser.add_argument("--swap-seconds", type=float, default=1.5, help="between two swaps")
    parser.add_argument("--clients", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.clients:
        url, connections, interval_ms, seconds = options.clients
        load = Load(int(connections), float(interval_ms))
        print(json.dumps(vars(send_requests(url, load, float(seconds)))))
        return
    with tempfile.TemporaryDirectory() as home:
        load = Load(options.connections, options.interval_ms)
        figures = measure_swaps(home, load, options)
    print(format_figures(figures))
    print_target(figures["failed"] == 0, "no request failed")
    ratio = figures["p99_ratio"]
    print_target(ratio <= MAX_P99_RATIO, f"p99 with swaps {ratio} × (at most {MAX_P99_RATIO})")
    if options.swaps >= REPORTED_SWAPS:
        write_results("model_swaps", figures)


if __name__ == "__main__":
    main()
