"""A model server as a program of its own, for benchmarks of serving."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def start_model_server(home: str) -> Iterator[str]:
    """The URL of `tanuki models` on a home folder, without logged predictions."""
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
    try:
        assert server.stdout is not None
        match = re.match(r"Models are at (http://\S+)/v2", server.stdout.readline())
        assert match is not None
        yield match[1]
    finally:
        server.terminate()
        server.wait(30)
