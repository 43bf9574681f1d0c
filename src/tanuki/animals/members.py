"""Members: joining, the profile, who blocks and mutes whom, and whether somebody may write at all."""

import secrets
import unicodedata
from datetime import datetime
from types import EllipsisType

from sqlalchemy import (
    CompoundSelect,
    CursorResult,
    Select,
    delete,
    exists,
    or_,
    select,
    union_all,
    update,
)
from sqlalchemy.orm import Session

from tanuki.animals.tables import BarredPhoto, Follow, Member, Photo, Shut
from tanuki.errors import NotAllowed, NotFound, UserError
from tanuki.i18n import msgid
from tanuki.platform import accounts, rate_limit
from tanuki.platform.accounts import Person
from tanuki.platform.database.engine import add_once

DISPLAY_LONGEST = 40
ABOUT_LONGEST = 500
SHUT_MOST = 1_000  # whom one member may block and mute
PROFILE_AN_HOUR, SHUT_AN_HOUR = 60, 300  # changes of one member
TURNERS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"  # they turn the direction of the text around them


def join(db: Session, person: Person, *, now: datetime) -> Member:
    """The member that an account is, made when it is not one yet."""
    accounts.require(person, "member", "moderator")
    display = clean(person.display)[:DISPLAY_LONGEST] or person.name
    add_once(
        db, Member, name=person.name, display=display, pseudonym=secrets.token_hex(8), joined_at=now
    )
    return of(db, person)


def of(db: Session, who: Person) -> Member:
    """The member that somebody is."""
    found = known(db, who.name)
    if found is None:
        raise NotFound("You are not a member of the network; sign up for it first.")
    return found


def known(db: Session, name: str) -> Member | None:
    """The member of an account. Asked once in a session, because every list asks."""
    kept: dict[str, Member] = db.info.setdefault("viewers", {})
    if name not in kept:
        found = db.scalar(select(Member).where(Member.name == name, Member.left_at.is_(None)))
        if found is None:
            return None
        kept[name] = found
    return kept[name] if kept[name].left_at is None else None


def active(db: Session, who: Person) -> Member:
    """The member that somebody is, who may write. A banned one may read, take their data along, appeal and leave."""
    found = of(db, who)
    if found.banned_at is not None:
        raise NotAllowed(
            "Moderators have banned you: you may read, take your data along, appeal and leave, but not write."
        )
    return found


def viewer_id(db: Session, viewer: Person | None) -> int | None:
    """The member who looks; None for somebody who is not one."""
    found = known(db, viewer.name) if viewer is not None else None
    return found.id if found is not None else None


def moderates(viewer: Person | None) -> bool:
    """Whether somebody sees what others may not see, in order to decide about it."""
    if viewer is None:
        return False
    try:
        accounts.require(viewer, "moderator")
    except NotAllowed:
        return False
    return True


# ---- the profile ---------------------------------------------------------------------------------------------------


def profile(db: Session, viewer: Person | None, name: str) -> Member:
    """A member as somebody may see them: not there for those who block them or whom they block."""
    found = db.scalar(
        select(Member).where(Member.name == accounts.as_name(name), Member.left_at.is_(None))
    )
    me = viewer_id(db, viewer)
    if found is None or (
        me is not None and not moderates(viewer) and blocked_between(db, me, found.id)
    ):
        raise NotFound("There is no such member.")
    return found


def change(
    db: Session,
    who: Person,
    *,
    now: datetime,
    display: str | None = None,
    about: str | None = None,
    photo: Photo | EllipsisType | None = ...,
    events: bool | None = None,
) -> Member:
    """Change what is given of one's profile; a photo of None takes the picture away. `events`: whether what they look at may be logged."""
    me = active(db, who)
    rate_limit.use(db, who.name, "profile", now=now, most=PROFILE_AN_HOUR, seconds=3600)
    if display is not None:
        me.display = words(
            display,
            1,
            DISPLAY_LONGEST,
            msgid("A name to show has 1 to %(most)s characters; found %(found)s."),
        )
    if about is not None:
        me.about = words(
            about,
            0,
            ABOUT_LONGEST,
            msgid("What you say about yourself has at most %(most)s characters; found %(found)s."),
            lines=True,
        )
    if photo is None:
        me.photo = None
    elif photo is not ...:
        if db.get(BarredPhoto, photo.digest) is not None:
            raise UserError("Moderators have removed this picture before; please choose another.")
        me.photo = photo.digest
    if events is not None:
        me.events = events
    db.flush()
    return me


def words(text: str, fewest: int, most: int, sentence: str, *, lines: bool = False) -> str:
    """A text of somebody's as it is kept. Raises UserError with the sentence when it is too short or too long."""
    text = clean(text, lines=lines)
    if not fewest <= len(text) <= most:
        raise UserError(sentence, most=most, found=len(text))
    return text


def clean(text: str, *, lines: bool = False) -> str:
    """A text without what cannot be stored or seen: control characters, halves of characters, marks that turn the text around it."""
    text = unicodedata.normalize(
        "NFC",
        text.replace("\r\n", "\n")
        .replace("\r", "\n")
        .replace("\u2028", "\n")
        .replace("\u2029", "\n"),
    )
    kept = "".join(
        c if c == "\n" else " " if c == "\t" else c for c in text if c in "\n\t" or storable(c)
    )
    if not lines:
        kept = " ".join(kept.split())
    return kept.strip() if any(unicodedata.category(c)[0] in "LNPS" for c in kept) else ""


def storable(character: str) -> bool:
    """Whether a character can be stored and does nothing to its neighbours."""
    return unicodedata.category(character) not in ("Cc", "Cs", "Cn") and character not in TURNERS


# ---- blocking and muting -------------------------------------------------------------------------------------------


def shut(db: Session, who: Person, name: str, kind: str, *, now: datetime) -> None:
    """Mute somebody: their posts and words no longer come to me. Or block them: neither sees the other, and neither follows the other any more."""
    me, other = (
        active(db, who),
        db.scalar(
            select(Member).where(Member.name == accounts.as_name(name), Member.left_at.is_(None))
        ),
    )
    if other is None or db.scalar(
        select(
            exists().where(Shut.member_id == other.id, Shut.other_id == me.id, Shut.kind == "block")
        )
    ):
        raise NotFound("There is no such member.")
    if kind not in ("mute", "block"):
        raise UserError("%(kind)s is not possible; expected mute or block.", kind=kind)
    if other.id == me.id:
        raise UserError("You cannot block or mute yourself.")
    rate_limit.use(db, who.name, "shut", now=now, most=SHUT_AN_HOUR, seconds=3600)
    if len(shut_list(db, who)) >= SHUT_MOST:
        raise UserError("You can block and mute at most %(most)s members.", most=SHUT_MOST)
    lock(db, me.id, other.id)
    if (
        not add_once(db, Shut, member_id=me.id, other_id=other.id, kind=kind, at=now)
        and kind == "block"
    ):
        db.execute(
            update(Shut)
            .where(Shut.member_id == me.id, Shut.other_id == other.id)
            .values(kind=kind, at=now)
        )
    if kind == "block":
        part(db, me.id, other.id)
        part(db, other.id, me.id)


def lock(db: Session, *member_ids: int) -> None:
    """Let nobody else change these members, or what is between them, until this transaction ends; always in one order, so that two never wait for each other."""
    db.execute(
        select(Member.id)
        .where(Member.id.in_(member_ids))
        .order_by(Member.id)
        .with_for_update(key_share=True)
    )


def part(db: Session, follower_id: int, followed_id: int) -> bool:
    """One member follows another no longer; whether they did."""
    gone = db.execute(
        delete(Follow).where(Follow.follower_id == follower_id, Follow.followed_id == followed_id)
    )
    assert isinstance(gone, CursorResult)
    if gone.rowcount:
        db.execute(
            update(Member).where(Member.id == follower_id).values(following=Member.following - 1)
        )
        db.execute(
            update(Member).where(Member.id == followed_id).values(followers=Member.followers - 1)
        )
    return bool(gone.rowcount)


def unshut(db: Session, who: Person, name: str) -> None:
    """Neither block nor mute somebody any more."""
    me = active(db, who)
    other = select(Member.id).where(Member.name == accounts.as_name(name)).scalar_subquery()
    db.execute(
        delete(Shut)
        .where(Shut.member_id == me.id, Shut.other_id == other)
        .execution_options(synchronize_session=False)
    )


def shut_list(db: Session, who: Person) -> list[tuple[Shut, Member]]:
    """Whom somebody blocks and mutes, newest first."""
    mine = (
        select(Shut, Member)
        .join(Member, Member.id == Shut.other_id)
        .where(Shut.member_id == of(db, who).id, Member.left_at.is_(None))
    )
    return [
        (shut, member)
        for shut, member in db.execute(
            mine.order_by(Shut.at.desc(), Shut.other_id).limit(SHUT_MOST)
        )
    ]


def blocked_between(db: Session, a_id: int, b_id: int) -> bool:
    """Whether one of two members blocks the other."""
    pair = or_(
        (Shut.member_id == a_id) & (Shut.other_id == b_id),
        (Shut.member_id == b_id) & (Shut.other_id == a_id),
    )
    return bool(db.scalar(select(exists().where(pair, Shut.kind == "block"))))


def unseen_by(viewer_id: int | None, *, muted: bool = True) -> Select[int] | CompoundSelect[int]:
    """Ids of members whose things somebody does not get to see in lists: who left, who blocks them or is blocked, and whom they mute; for use inside queries."""
    gone = select(Member.id).where(Member.left_at.is_not(None))
    if viewer_id is None:
        return gone
    mine = select(Shut.other_id).where(Shut.member_id == viewer_id)
    theirs = select(Shut.member_id).where(Shut.other_id == viewer_id, Shut.kind == "block")
    return union_all(gone, mine if muted else mine.where(Shut.kind == "block"), theirs)


def hidden_ids(db: Session, viewer_id: int | None) -> set[int]:
    """The same as a set of ids."""
    return set(db.scalars(unseen_by(viewer_id)))
