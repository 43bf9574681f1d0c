"""The command for the words that hold a post for a moderator."""

from datetime import UTC, datetime

import click

from tanuki.cli.output import emit, json_option
from tanuki.platform.commands.context import open_resources


@click.command(
    help="The words that hold a post until a moderator has looked at it; ban more, or allow some again."
)
@click.option(
    "--ban",
    "banned",
    multiple=True,
    metavar="WORD",
    help="From now on a post with this word is held. May be given several times.",
)
@click.option(
    "--allow",
    "allowed",
    multiple=True,
    metavar="WORD",
    help="This word holds posts no longer. May be given several times.",
)
@json_option
def words(banned: tuple[str, ...], allowed: tuple[str, ...], as_json: bool) -> None:
    from tanuki.animals import post_review
    from tanuki.platform.accounts import COMMAND_LINE

    with open_resources() as res, res.db.write() as db:
        now = datetime.now(UTC)
        for word in banned:
            post_review.ban_word(db, COMMAND_LINE, word, now=now)
        for word in allowed:
            post_review.allow_word(db, COMMAND_LINE, word, now=now)
        rows = [
            {"word": banned_word.word, "by": banned_word.by, "at": banned_word.at}
            for banned_word in post_review.list_banned_words(db, COMMAND_LINE)
        ]
    emit(rows, as_json, ["word", "by", "at"])
