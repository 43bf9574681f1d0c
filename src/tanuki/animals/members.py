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

from tanuki.animals.tables import Block, BlockedImageHash, BlockKind, Follow, Member, Photo
from tanuki.errors import NotAllowed, NotFound, UserError
from tanuki.i18n import msgid
from tanuki.platform import accounts, rate_limit
from tanuki.platform.accounts import Person
from tanuki.platform.database.upsert import insert_or_ignore

MAX_DISPLAY_NAME_LENGTH = 40
MAX_ABOUT_LENGTH = 500
MAX_BLOCKS_PER_MEMBER = 1_000  # whom one member may block and mute
PROFILE_CHANGES_PER_HOUR, BLOCKS_PER_HOUR = 60, 300  # changes of one member
BIDI_CONTROLS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"  # they turn the direction of the text around them


def join_community(db: Session, person: Person, *, now: datetime) -> Member:
    """The member that an account is, made when it is not one yet."""
    accounts.require_role(person, "member", "moderator")
    display = clean_text(person.display_name)[:MAX_DISPLAY_NAME_LENGTH] or person.name
    insert_or_ignore(
        db, Member, name=person.name, display=display, pseudonym=secrets.token_hex(8), joined_at=now
    )
    return require_member(db, person)


def require_member(db: Session, who: Person) -> Member:
    """The member that somebody is."""
    found = find_member(db, who.name)
    if found is None:
        raise NotFound("You are not a member of the network; sign up for it first.")
    return found


def find_member(db: Session, name: str) -> Member | None:
    """The member of an account. Asked once in a session, because every list asks."""
    kept: dict[str, Member] = db.info.setdefault("viewers", {})
    if name not in kept:
        found = db.scalar(select(Member).where(Member.name == name, Member.left_at.is_(None)))
        if found is None:
            return None
        kept[name] = found
    return kept[name] if kept[name].left_at is None else None


def require_active_member(db: Session, who: Person) -> Member:
    """The member that somebody is, who may write. A banned one may read, take their data along, appeal and leave."""
    found = require_member(db, who)
    if found.banned_at is not None:
        raise NotAllowed(
            "Moderators have banned you: you may read, take your data along, appeal and leave, but not write."
        )
    return found


def find_viewer_id(db: Session, viewer: Person | None) -> int | None:
    """The member who looks; None for somebody who is not one."""
    found = find_member(db, viewer.name) if viewer is not None else None
    return found.id if found is not None else None


def is_moderator(viewer: Person | None) -> bool:
    """Whether somebody sees what others may not see, in order to decide about it."""
    if viewer is None:
        return False
    try:
        accounts.require_role(viewer, "moderator")
    except NotAllowed:
        return False
    return True


# ---- the profile ---------------------------------------------------------------------------------------------------


def load_profile(db: Session, viewer: Person | None, name: str) -> Member:
    """A member as somebody may see them: not there for those who block them or whom they block."""
    found = db.scalar(
        select(Member).where(Member.name == accounts.normalize_name(name), Member.left_at.is_(None))
    )
    me = find_viewer_id(db, viewer)
    if found is None or (
        me is not None and not is_moderator(viewer) and is_blocked_between(db, me, found.id)
    ):
        raise NotFound("There is no such member.")
    return found


def update_profile(
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
    me = require_active_member(db, who)
    rate_limit.use(db, who.name, "profile", now=now, most=PROFILE_CHANGES_PER_HOUR, seconds=3600)
    if display is not None:
        me.display = validate_text(
            display,
            1,
            MAX_DISPLAY_NAME_LENGTH,
            msgid("A name to show has 1 to %(most)s characters; found %(found)s."),
        )
    if about is not None:
        me.about = validate_text(
            about,
            0,
            MAX_ABOUT_LENGTH,
            msgid("What you say about yourself has at most %(most)s characters; found %(found)s."),
            lines=True,
        )
    if photo is None:
        me.photo = None
    elif photo is not ...:
        if db.get(BlockedImageHash, photo.digest) is not None:
            raise UserError("Moderators have removed this picture before; please choose another.")
        me.photo = photo.digest
    if events is not None:
        me.events = events
    db.flush()
    return me


def validate_text(text: str, fewest: int, most: int, sentence: str, *, lines: bool = False) -> str:
    """A text of somebody's as it is kept. Raises UserError with the sentence when it is too short or too long."""
    text = clean_text(text, lines=lines)
    if not fewest <= len(text) <= most:
        raise UserError(sentence, most=most, found=len(text))
    return text


def clean_text(text: str, *, lines: bool = False) -> str:
    """A text without what cannot be stored or seen: control characters, halves of characters, marks that turn the text around it."""
    text = unicodedata.normalize(
        "NFC",
        text.replace("\r\n", "\n")
        .replace("\r", "\n")
        .replace("\u2028", "\n")
        .replace("\u2029", "\n"),
    )
    kept = "".join(
        c if c == "\n" else " " if c == "\t" else c for c in text if c in "\n\t" or is_storable(c)
    )
    if not lines:
        kept = " ".join(kept.split())
    return kept.strip() if any(unicodedata.category(c)[0] in "LNPS" for c in kept) else ""


def is_storable(character: str) -> bool:
    """Whether a character can be stored and does nothing to its neighbours."""
    return (
        unicodedata.category(character) not in ("Cc", "Cs", "Cn") and character not in BIDI_CONTROLS
    )


# ---- blocking and muting -------------------------------------------------------------------------------------------


def block_member(db: Session, who: Person, name: str, kind: str, *, now: datetime) -> None:
    """Mute somebody: their posts and words no longer come to me. Or block them: neither sees the other, and neither follows the other any more."""
    me, other = (
        require_active_member(db, who),
        db.scalar(
            select(Member).where(Member.name == accounts.normalize_name(name), Member.left_at.is_(None))
        ),
    )
    if other is None or db.scalar(
        select(
            exists().where(
                Block.member_id == other.id, Block.target_id == me.id, Block.kind == BlockKind.BLOCK
            )
        )
    ):
        raise NotFound("There is no such member.")
    if kind not in (BlockKind.MUTE, BlockKind.BLOCK):
        raise UserError("%(kind)s is not possible; expected mute or block.", kind=kind)
    if other.id == me.id:
        raise UserError("You cannot block or mute yourself.")
    rate_limit.use(db, who.name, "shut", now=now, most=BLOCKS_PER_HOUR, seconds=3600)
    if len(list_blocks(db, who)) >= MAX_BLOCKS_PER_MEMBER:
        raise UserError(
            "You can block and mute at most %(most)s members.", most=MAX_BLOCKS_PER_MEMBER
        )
    lock_members(db, me.id, other.id)
    if (
        not insert_or_ignore(db, Block, member_id=me.id, target_id=other.id, kind=kind, at=now)
        and kind == BlockKind.BLOCK
    ):
        db.execute(
            update(Block)
            .where(Block.member_id == me.id, Block.target_id == other.id)
            .values(kind=kind, at=now)
        )
    if kind == BlockKind.BLOCK:
        remove_follow(db, me.id, other.id)
        remove_follow(db, other.id, me.id)


def lock_members(db: Session, *member_ids: int) -> None:
    """Let nobody else change these members, or what is between them, until this transaction ends; always in one order, so that two never wait for each other."""
    db.execute(
        select(Member.id)
        .where(Member.id.in_(member_ids))
        .order_by(Member.id)
        .with_for_update(key_share=True)
    )


def remove_follow(db: Session, follower_id: int, followed_id: int) -> bool:
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


def unblock_member(db: Session, who: Person, name: str) -> None:
    """Neither block nor mute somebody any more."""
    me = require_active_member(db, who)
    other = select(Member.id).where(Member.name == accounts.normalize_name(name)).scalar_subquery()
    db.execute(
        delete(Block)
        .where(Block.member_id == me.id, Block.target_id == other)
        .execution_options(synchronize_session=False)
    )


def list_blocks(db: Session, who: Person) -> list[tuple[Block, Member]]:
    """Whom somebody blocks and mutes, newest first."""
    mine = (
        select(Block, Member)
        .join(Member, Member.id == Block.target_id)
        .where(Block.member_id == require_member(db, who).id, Member.left_at.is_(None))
    )
    return [
        (shut, member)
        for shut, member in db.execute(
            mine.order_by(Block.at.desc(), Block.target_id).limit(MAX_BLOCKS_PER_MEMBER)
        )
    ]


def is_blocked_between(db: Session, a_id: int, b_id: int) -> bool:
    """Whether one of two members blocks the other."""
    pair = or_(
        (Block.member_id == a_id) & (Block.target_id == b_id),
        (Block.member_id == b_id) & (Block.target_id == a_id),
    )
    return bool(db.scalar(select(exists().where(pair, Block.kind == BlockKind.BLOCK))))


def hidden_member_ids(
    viewer_id: int | None, *, muted: bool = True
) -> Select[int] | CompoundSelect[int]:
    """Ids of members whose things somebody does not get to see in lists: who left, who blocks them or is blocked, and whom they mute; for use inside queries."""
    gone = select(Member.id).where(Member.left_at.is_not(None))
    if viewer_id is None:
        return gone
    mine = select(Block.target_id).where(Block.member_id == viewer_id)
    theirs = select(Block.member_id).where(
        Block.target_id == viewer_id, Block.kind == BlockKind.BLOCK
    )
    return union_all(gone, mine if muted else mine.where(Block.kind == BlockKind.BLOCK), theirs)


def load_hidden_member_ids(db: Session, viewer_id: int | None) -> set[int]:
    """The same as a set of ids."""
    return set(db.scalars(hidden_member_ids(viewer_id)))
