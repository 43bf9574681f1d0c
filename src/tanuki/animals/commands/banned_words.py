"""The command for banned words."""

from datetime import UTC, datetime

import click

from tanuki.cli.output import emit, json_option
from tanuki.platform.commands.context import open_resources


@click.command(
    "banned-words",
    help="List the words that hold a post for a moderator, ban words, or allow them again.",
)
@click.option(
    "--ban",
    "new_bans",
    multiple=True,
    metavar="WORD",
    help="Hold posts with this word from now on. Can be given several times.",
)
@click.option(
    "--allow",
    "lifted_bans",
    multiple=True,
    metavar="WORD",
    help="No longer hold posts with this word. Can be given several times.",
)
@json_option
def banned_words(new_bans: tuple[str, ...], lifted_bans: tuple[str, ...], as_json: bool) -> None:
    from tanuki.animals.banned_words import allow_word, ban_word, list_banned_words
    from tanuki.platform.accounts import COMMAND_LINE

    with open_resources() as res, res.db.write() as db:
        now = datetime.now(UTC)
        for word in new_bans:
            ban_word(db, COMMAND_LINE, word, now=now)
        for word in lifted_bans:
            allow_word(db, COMMAND_LINE, word, now=now)
        rows = [
            {"word": banned.word, "by": banned.by, "at": banned.at}
            for banned in list_banned_words(db, COMMAND_LINE)
        ]
    emit(rows, as_json, ["word", "by", "at"])
