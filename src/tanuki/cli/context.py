"""What every command may ask its click context for: the translator of the terminal's language."""

from dataclasses import dataclass

import click

from tanuki.i18n import Translate, english


@dataclass(frozen=True)
class CommandLine:
    """The object of the click context. Whoever starts the command line sets it."""

    say: Translate = english


def translator_of(context: click.Context | None) -> Translate:
    """`say(text, **values)` in the language of a context's command line; else English."""
    command_line = context.find_object(CommandLine) if context else None
    return command_line.say if command_line else english


def say(text: str, **values: object) -> str:
    """A msgid in the terminal's language, with its values filled in."""
    return translator_of(click.get_current_context(silent=True))(text, **values)


def echo(text: str, *, err: bool = False, **values: object) -> None:
    """Print a msgid in the terminal's language, with its values filled in."""
    click.echo(say(text, **values), err=err)
