"""Work in a child process that lets everybody else go first: serving goes on beside it, and the memory that it took is gone when it ends."""

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from tanuki.errors import UserError

T = TypeVar("T")

NICE = 19
ASKED, ANSWERED = "asked", "answered"


def apart(do: Callable[..., T], *given: Any) -> T:
    """What a function of a module gives, computed in a child process. Raises its UserError, and RuntimeError when it ended otherwise."""
    with TemporaryDirectory() as folder:
        with (Path(folder) / ASKED).open("wb") as file:
            pickle.dump((do, given), file, protocol=5)
        command = [sys.executable, "-m", __name__, folder]
        done = subprocess.run(  # noqa: S603 our own module
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(
                f"{do.__name__} ended with {done.returncode}: {done.stderr[-2_000:]}"
            )
        wrong, made = pickle.loads((Path(folder) / ANSWERED).read_bytes())  # noqa: S301 written by our own child
    if wrong is not None:
        raise wrong
    return made  # type: ignore[no-any-return]


def main(folder: Path) -> None:
    """What the child does: one thread, and when nobody else wants to."""
    try:
        os.sched_setscheduler(
            0, os.SCHED_IDLE, os.sched_param(0)
        )  # the processor is its own while nobody else wants it
    except OSError:  # where processes may not say so
        os.nice(NICE)
    os.putenv("OPENBLAS_NUM_THREADS", "1")  # numpy is loaded only now, with what is asked
    with (folder / ASKED).open("rb") as file:
        do, given = pickle.load(file)  # noqa: S301 written by our own parent
    answer: tuple[UserError | None, Any]
    try:
        answer = (None, do(*given))
    except UserError as error:
        answer = (error, None)
    (folder / ANSWERED).write_bytes(pickle.dumps(answer, protocol=5))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
