"""How a command ends: its exit code, its error sentence, and no waiting for other threads."""

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


FAILING = """
from tanuki.cli.main import run_command_line
from tanuki.errors import UserError

def command():
    raise UserError("There is no store %(store)s.", store="chiba")

run_command_line(command, lambda text, **values: f"ja: {text % values}")
"""


def test_an_error_is_one_translated_sentence_and_exit_code_2():
    ended = subprocess.run(
        [sys.executable, "-c", FAILING], timeout=30, capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (2, "ja: There is no store chiba.\n")
