"""Progress of long commands: a bar for each thing that is counted, on standard error."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tanuki.cli.context import say

ReportProgress = Callable[[str, int, int], None]
"""`report(what, done, total)`; `what` is a msgid."""


@contextmanager
def progress_bars() -> Iterator[ReportProgress]:
    """Bars that appear when they are first reported. Nothing is printed without a terminal."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bars = {}

        def report(what: str, done: int, total: int) -> None:
            if what not in bars:
                bars[what] = progress.add_task(say(what), total=total)
            progress.update(bars[what], completed=done, total=total)

        yield report


@contextmanager
def spinner(text: str, **values: object) -> Iterator[None]:
    """Show that a step of unknown length runs. Nothing is printed without a terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    with console.status(say(text, **values)):
        yield
