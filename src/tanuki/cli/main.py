"""How a command line ends: exit codes, error sentences, and no waiting for other threads."""

import os
import sys
import threading
from collections.abc import Callable

import click

from tanuki.errors import UserError
from tanuki.i18n import Translate, english


def run_command_line(command: Callable[[], object], say: Translate = english) -> None:
    """Run a command line and end the process. A UserError is one sentence and exit code 2.

    Durable runs that wait for people sit in threads of this process until their deadline. What
    they wait for is in the database, so the process ends without them and the next worker resumes
    them. Daemon threads are not enough: thread pools wait for the threads that these started.
    """
    code: object = 0
    try:
        command()
    except UserError as error:
        click.echo(say(error.message, **error.values), err=True)
        code = 2
    except SystemExit as end:
        code = end.code
    if threading.active_count() > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else int(code is not None))
    sys.exit(code if isinstance(code, int) or code is None else str(code))
