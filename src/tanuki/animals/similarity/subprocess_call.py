"""A function call in a child process that runs only while nobody else wants the processor.

Serving goes on beside it, and its memory is returned when it ends. Arguments and result are pickled
through files. `concurrent.futures.ProcessPoolExecutor` was tried instead: it pickles the arguments
in the parent's memory, see docs/decisions/libraries.md.
"""

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ParamSpec, TypeVar

from tanuki.errors import UserError

P = ParamSpec("P")
T = TypeVar("T")

LOWEST_PRIORITY = 19
CALL_FILE, RESULT_FILE = "call", "result"
ERROR_CHARACTERS = 2_000


def call_in_subprocess(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The result of a function of a module, computed in a child process.

    Raises the function's UserError, and RuntimeError if the process ended in another way.
    """
    with TemporaryDirectory() as folder:
        with (Path(folder) / CALL_FILE).open("wb") as file:
            pickle.dump((function, args, kwargs), file, protocol=5)
        command = [sys.executable, "-m", __name__, folder]
        process = subprocess.run(  # noqa: S603 our own module
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        if process.returncode:
            raise RuntimeError(
                f"{function.__name__} ended with {process.returncode}: "
                f"{process.stderr[-ERROR_CHARACTERS:]}"
            )
        content = (Path(folder) / RESULT_FILE).read_bytes()
    error, result = pickle.loads(content)  # noqa: S301 written by our own child
    if error is not None:
        raise error
    return result  # type: ignore[no-any-return] # what the function gave


def main(folder: Path) -> None:
    """The child process: one thread, at idle priority."""
    try:
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    except OSError:  # not allowed here, such as in some containers
        os.nice(LOWEST_PRIORITY)
    os.putenv("OPENBLAS_NUM_THREADS", "1")  # in time: numpy is imported with the call below
    with (folder / CALL_FILE).open("rb") as file:
        function, args, kwargs = pickle.load(file)  # noqa: S301 written by our own parent
    outcome: tuple[UserError | None, object]
    try:
        outcome = (None, function(*args, **kwargs))
    except UserError as error:
        outcome = (error, None)
    (folder / RESULT_FILE).write_bytes(pickle.dumps(outcome, protocol=5))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
