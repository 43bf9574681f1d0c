"""A command ends although runs that wait for a decision occupy threads of its process."""

import subprocess
import sys

import pytest

PROGRAM = """
import threading
from concurrent.futures import ThreadPoolExecutor
from tanuki.cli.main import run_command_line

def command():
    pool, started = ThreadPoolExecutor(), threading.Event()

    def start_waiting():
        pool.submit(threading.Event().wait)
        started.set()

    threading.Thread(target=start_waiting, daemon={daemon}).start()
    started.wait()
    print("done")
    raise SystemExit(3)

run_command_line(command)
"""


@pytest.mark.parametrize("daemon", [True, False])
def test_a_command_ends_while_a_run_waits(daemon):
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(daemon=daemon)],
        timeout=30,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (3, "done\n")
