"""Commands run in the test's own process, with the engines that the settings name."""

import click
from click.testing import CliRunner, Result

from tanuki.app.cli import create_command_line


class CommandRunner(CliRunner):
    """click's runner, with Tanuki's context object; `lang` is the terminal's language."""

    def __init__(self, *args, lang="en", **kwargs):
        super().__init__(*args, **kwargs)
        self.lang = lang

    def invoke(self, cli: click.Command, *args, **kwargs) -> Result:
        return super().invoke(cli, *args, obj=create_command_line(self.lang), **kwargs)
