"""The engines of a command, reached through the click context.

The composition (`tanuki.app`) sets the context's object, so that commands never import it. This
file imports no engine itself: `tanuki --help` needs none.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from tanuki.cli.context import CommandLine

if TYPE_CHECKING:
    from tanuki.platform.resources import Resources


@dataclass(frozen=True, kw_only=True)
class TanukiCommandLine(CommandLine):
    """Factories of what a command may need."""

    create_resources: Callable[[], "AbstractContextManager[Resources]"]
    run_worker: Callable[["Resources"], AbstractContextManager[None]]  # without schedules


def open_resources() -> "AbstractContextManager[Resources]":
    """The engines for one command; the embedded database is brought up to date first."""
    return find_command_line().create_resources()


def find_command_line() -> TanukiCommandLine:
    """The object of the click context; a bug when a command runs without it."""
    command_line = click.get_current_context().find_object(TanukiCommandLine)
    assert command_line is not None, "the command runs without tanuki.app's context object"
    return command_line
