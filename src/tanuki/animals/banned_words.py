"""Banned words: a post that has one is held for a moderator."""

import re
from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from tanuki.animals import members
from tanuki.animals.search.normalize import fold
from tanuki.animals.tables import BannedWord
from tanuki.i18n import msgid
from tanuki.platform import audit_log
from tanuki.platform.accounts import Person, require_role
from tanuki.platform.audit_log import AuditedAction
from tanuki.platform.database.upsert import insert_or_ignore

MAX_BANNED_WORD_LENGTH = 40
MAX_BANNED_WORDS_LISTED = 10_000
STARTS_LATIN = re.compile(r"[a-z0-9]")


def list_banned_words(db: Session, who: Person) -> list[BannedWord]:
    """All banned words, in alphabetical order. For moderators."""
    require_role(who, "moderator")
    words = select(BannedWord).order_by(BannedWord.word).limit(MAX_BANNED_WORDS_LISTED)
    return list(db.scalars(words))


def ban_word(db: Session, who: Person, word: str, *, now: datetime) -> None:
    """Hold posts with this word from now on. For moderators."""
    require_role(who, "moderator")
    folded = fold(
        members.validate_text(
            word,
            1,
            MAX_BANNED_WORD_LENGTH,
            msgid("A word has 1 to %(most)s characters; found %(found)s."),
        )
    )
    if insert_or_ignore(db, BannedWord, word=folded, by=who.name, at=now):
        action = AuditedAction(
            actor=who.name, action="ban word", target=f"word:{folded}", details={}
        )
        audit_log.append_entry(db, action, now)


def allow_word(db: Session, who: Person, word: str, *, now: datetime) -> None:
    """End the ban of a word. For moderators."""
    require_role(who, "moderator")
    banned = db.get(BannedWord, fold(word))
    if banned is not None:
        db.delete(banned)
        action = AuditedAction(
            actor=who.name, action="allow word", target=f"word:{banned.word}", details={}
        )
        audit_log.append_entry(db, action, now)


def find_banned_word(words: Iterable[str], text: str) -> str | None:
    """The first of some folded words that a text contains.

    A word that begins in Latin letters must stand alone in the text. Any other word may be part of
    a longer one, since Japanese puts no spaces between words.
    """
    text = fold(text)
    for word in words:
        if word in text and (
            not STARTS_LATIN.match(word)
            or re.search(rf"(?<![a-z0-9]){re.escape(word)}(?![a-z0-9])", text)
        ):
            return word
    return None
