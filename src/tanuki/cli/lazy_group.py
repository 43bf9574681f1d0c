"""Command groups whose commands are imported only when they are called, and their translation."""

from collections.abc import Mapping
from copy import copy
from importlib import import_module

import click

from tanuki.cli.context import translator_of
from tanuki.i18n import Translate

CommandTable = Mapping[str, tuple[str, str]]
"""`{name: ("module:attribute", "one line of help")}`"""


class LazyGroup(click.Group):
    """The commands of a table. The table's lines of help are shown without importing anything."""

    def __init__(self, name: str, *, table: CommandTable, help: str) -> None:
        super().__init__(name, help=help)
        self.table = table

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.table:
            return None
        module, _, attribute = self.table[cmd_name][0].partition(":")
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)
        return translate_command(command, translator_of(ctx))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        say = translator_of(ctx)
        with formatter.section("Commands"):
            formatter.write_dl([(name, say(line)) for name, (_, line) in self.table.items()])


def translate_command(command: click.Command, say: Translate) -> click.Command:
    """A copy of a command, its options and its subcommands with their help in another language."""
    translated = copy(command)
    translated.help = say(command.help) if command.help else command.help
    translated.params = [translate_parameter(parameter, say) for parameter in command.params]
    if isinstance(translated, click.Group):
        translated.commands = {
            name: translate_command(subcommand, say)
            for name, subcommand in translated.commands.items()
        }
    return translated


def translate_parameter(parameter: click.Parameter, say: Translate) -> click.Parameter:
    if not isinstance(parameter, click.Option) or not parameter.help:
        return parameter
    translated = copy(parameter)
    translated.help = say(parameter.help)
    return translated
