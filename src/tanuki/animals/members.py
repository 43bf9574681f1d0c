"""Members: joining, the profile, blocks and mutes, and who may write."""

import secrets
import unicodedata
from dataclasses import dataclass
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

from tanuki.animals.session_cache import SessionCache
from tanuki.animals.tables import Block, BlockedImageHash, BlockKind, Follow, Member, Photo
from tanuki.errors import NotAllowed, NotFound, UserError
from tanuki.i18n import msgid
from tanuki.platform import accounts, rate_limit
from tanuki.platform.accounts import Person
from tanuki.platform.database.upsert import insert_or_ignore
from tanuki.platform.rate_limit import RateLimit

MAX_DISPLAY_NAME_LENGTH = 40
MAX_ABOUT_LENGTH = 500
MAX_BLOCKS_PER_MEMBER = 1_000  # blocks and mutes together
PROFILE_CHANGES_PER_MEMBER = RateLimit("profile", 60, 3600)
BLOCKS_BY_MEMBER = RateLimit("block", 300, 3600)
# Unicode marks that change the direction of the text around them.
BIDI_CONTROLS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
MEMBERS_BY_NAME = SessionCache[str, Member]("members")


@dataclass(frozen=True)
class ProfileChange:
    """What to change of a profile; None leaves a field as it is.

    `photo`: None takes the profile's photo away, `...` leaves it. `events`: whether the member's
    views may be logged.
    """

    display: str | None = None
    about: str | None = None
    photo: Photo | EllipsisType | None = ...
    events: bool | None = None


def join_community(db: Session, person: Person, *, now: datetime) -> Member:
    """The member of an account, created if there is none yet."""
    accounts.require_role(person, "member", "moderator")
    display = clean_text(person.display_name)[:MAX_DISPLAY_NAME_LENGTH] or person.name
    insert_or_ignore(
        db, Member, name=person.name, display=display, pseudonym=secrets.token_hex(8), joined_at=now
    )
    return require_member(db, person)


def require_member(db: Session, who: Person) -> Member:
    """The member of a person. Raises NotFound if they have not joined or have left."""
    member = find_member(db, who.name)
    if member is None:
        raise NotFound("You are not a member of this site; sign up for it first.")
    return member


def find_member(db: Session, name: str) -> Member | None:
    """The member with an account's name, unless they left. Read once in a session."""
    cached = MEMBERS_BY_NAME.entries(db)
    if name not in cached:
        member = db.scalar(select(Member).where(Member.name == name, Member.left_at.is_(None)))
        if member is None:
            return None
        cached[name] = member
    return cached[name] if cached[name].left_at is None else None


def load_member(db: Session, name: str) -> Member | None:
    """The member whom somebody names, unless they left. Read anew every time."""
    return db.scalar(
        select(Member).where(Member.name == accounts.normalize_name(name), Member.left_at.is_(None))
    )


def require_active_member(db: Session, who: Person) -> Member:
    """The member of a person who may write.

    Raises NotAllowed for a banned member, who may still read, export their data, appeal and leave.
    """
    member = require_member(db, who)
    if member.banned_at is not None:
        raise NotAllowed(
            "Moderators have banned you: you may read, download your data, appeal and leave, "
            "but not write."
        )
    return member


def find_viewer_id(db: Session, viewer: Person | None) -> int | None:
    """The viewer's member id; None for somebody who is not a member."""
    member = find_member(db, viewer.name) if viewer is not None else None
    return member.id if member is not None else None


def is_moderator(viewer: Person | None) -> bool:
    """Whether the viewer sees what is hidden from others, in order to decide about it."""
    if viewer is None:
        return False
    try:
        accounts.require_role(viewer, "moderator")
    except NotAllowed:
        return False
    return True


# ---- the profile ---------------------------------------------------------------------------------


def load_profile(db: Session, viewer: Person | None, name: str) -> Member:
    """A member as the viewer may see them.

    Raises NotFound if there is no such member, or if one of the two blocks the other.
    """
    member = load_member(db, name)
    viewer_id = find_viewer_id(db, viewer)
    if member is None or (
        viewer_id is not None
        and not is_moderator(viewer)
        and is_blocked_between(db, viewer_id, member.id)
    ):
        raise NotFound("There is no such member.")
    return member


def update_profile(db: Session, who: Person, change: ProfileChange, *, now: datetime) -> Member:
    """Change one's own profile. Raises UserError for texts that are too long and photos that
    moderators have removed before."""
    member = require_active_member(db, who)
    rate_limit.count_use(db, who.name, PROFILE_CHANGES_PER_MEMBER, now)
    if change.display is not None:
        member.display = validate_text(
            change.display,
            1,
            MAX_DISPLAY_NAME_LENGTH,
            msgid("A display name has 1 to %(most)s characters; found %(found)s."),
        )
    if change.about is not None:
        member.about = validate_text(
            change.about,
            0,
            MAX_ABOUT_LENGTH,
            msgid("What you say about yourself has at most %(most)s characters; found %(found)s."),
            lines=True,
        )
    if change.photo is None:
        member.photo = None
    elif change.photo is not ...:
        if db.get(BlockedImageHash, change.photo.digest) is not None:
            raise UserError("Moderators have removed this picture before; please choose another.")
        member.photo = change.photo.digest
    if change.events is not None:
        member.events = change.events
    db.flush()
    return member


# ---- texts that members write --------------------------------------------------------------------


def validate_text(text: str, fewest: int, most: int, message: str, *, lines: bool = False) -> str:
    """A text as it is stored, cleaned by `clean_text`.

    Raises UserError with `message` (a msgid with %(most)s and %(found)s) if it does not have
    `fewest` to `most` characters then.
    """
    text = clean_text(text, lines=lines)
    if not fewest <= len(text) <= most:
        raise UserError(message, most=most, found=len(text))
    return text


def clean_text(text: str, *, lines: bool = False) -> str:
    """A text in NFC without control characters, lone surrogates and bidi controls.

    Line breaks become spaces unless `lines` is set. A text without any visible character is empty.
    """
    text = unicodedata.normalize(
        "NFC",
        text.replace("\r\n", "\n")
        .replace("\r", "\n")
        .replace("\u2028", "\n")
        .replace("\u2029", "\n"),
    )
    cleaned = "".join(
        " " if character == "\t" else character
        for character in text
        if character in "\n\t" or is_storable(character)
    )
    if not lines:
        cleaned = " ".join(cleaned.split())
    visible = any(unicodedata.category(character)[0] in "LNPS" for character in cleaned)
    return cleaned.strip() if visible else ""


def is_storable(character: str) -> bool:
    """Whether a character can be stored and leaves its neighbours as they are."""
    category = unicodedata.category(character)
    return category not in ("Cc", "Cs", "Cn") and character not in BIDI_CONTROLS


# ---- blocks and mutes ----------------------------------------------------------------------------


def block_member(
    db: Session, who: Person, name: str, kind: BlockKind | str, *, now: datetime
) -> None:
    """Block or mute a member.

    A mute hides the member's posts and comments from `who`. A block also hides `who` from the
    member, and both stop following each other. A block replaces a mute, a mute leaves a block.
    """
    if kind not in tuple(BlockKind):
        raise UserError("%(kind)s is not possible; expected mute or block.", kind=kind)
    member = require_active_member(db, who)
    target = load_member(db, name)
    if target is None or has_blocked(db, target.id, member.id):
        raise NotFound("There is no such member.")
    if target.id == member.id:
        raise UserError("You cannot block or mute yourself.")
    rate_limit.count_use(db, who.name, BLOCKS_BY_MEMBER, now)
    if len(list_blocks(db, who)) >= MAX_BLOCKS_PER_MEMBER:
        raise UserError(
            "You can block and mute at most %(most)s members.", most=MAX_BLOCKS_PER_MEMBER
        )
    lock_members(db, member.id, target.id)
    inserted = insert_or_ignore(
        db, Block, member_id=member.id, target_id=target.id, kind=kind, at=now
    )
    if kind == BlockKind.MUTE:
        return
    if not inserted:
        db.execute(
            update(Block)
            .where(Block.member_id == member.id, Block.target_id == target.id)
            .values(kind=kind, at=now)
        )
    remove_follow(db, member.id, target.id)
    remove_follow(db, target.id, member.id)


def unblock_member(db: Session, who: Person, name: str) -> None:
    """End a block or a mute."""
    member = require_active_member(db, who)
    target = select(Member.id).where(Member.name == accounts.normalize_name(name))
    db.execute(
        delete(Block)
        .where(Block.member_id == member.id, Block.target_id == target.scalar_subquery())
        .execution_options(synchronize_session=False)
    )


def list_blocks(db: Session, who: Person) -> list[tuple[Block, Member]]:
    """The members whom a person blocks and mutes, the newest first."""
    blocks = (
        select(Block, Member)
        .join(Member, Member.id == Block.target_id)
        .where(Block.member_id == require_member(db, who).id, Member.left_at.is_(None))
        .order_by(Block.at.desc(), Block.target_id)
        .limit(MAX_BLOCKS_PER_MEMBER)
    )
    return [(block, member) for block, member in db.execute(blocks)]


def has_blocked(db: Session, member_id: int, target_id: int) -> bool:
    """Whether a member blocks another; a mute does not count."""
    block = exists().where(
        Block.member_id == member_id, Block.target_id == target_id, Block.kind == BlockKind.BLOCK
    )
    return bool(db.scalar(select(block)))


def is_silenced(db: Session, member_id: int, actor_id: int) -> bool:
    """Whether a member mutes or blocks the actor, or is blocked by them."""
    by_member = (Block.member_id == member_id) & (Block.target_id == actor_id)
    by_actor = (
        (Block.member_id == actor_id)
        & (Block.target_id == member_id)
        & (Block.kind == BlockKind.BLOCK)
    )
    return bool(db.scalar(select(exists().where(or_(by_member, by_actor)))))


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
    """A query for the members whose content is hidden from a viewer, to be used in other queries.

    They are the members who left, those who block the viewer or are blocked by them and, with
    `muted`, those whom the viewer mutes.
    """
    left = select(Member.id).where(Member.left_at.is_not(None))
    if viewer_id is None:
        return left
    by_viewer = select(Block.target_id).where(Block.member_id == viewer_id)
    if not muted:
        by_viewer = by_viewer.where(Block.kind == BlockKind.BLOCK)
    of_viewer = select(Block.member_id).where(
        Block.target_id == viewer_id, Block.kind == BlockKind.BLOCK
    )
    return union_all(left, by_viewer, of_viewer)


def load_hidden_member_ids(db: Session, viewer_id: int | None) -> set[int]:
    return set(db.scalars(hidden_member_ids(viewer_id)))


# ---- follows, for blocking, following and leaving ------------------------------------------------


def lock_members(db: Session, *member_ids: int) -> None:
    """Lock these members until the transaction ends, always in the order of their ids, so that two
    transactions never wait for each other."""
    db.execute(
        select(Member.id)
        .where(Member.id.in_(member_ids))
        .order_by(Member.id)
        .with_for_update(key_share=True)
    )


def remove_follow(db: Session, follower_id: int, followed_id: int) -> bool:
    """Delete a follow and count it down on both sides. Whether there was one."""
    deleted = db.execute(
        delete(Follow).where(Follow.follower_id == follower_id, Follow.followed_id == followed_id)
    )
    assert isinstance(deleted, CursorResult)
    if deleted.rowcount:
        db.execute(
            update(Member).where(Member.id == follower_id).values(following=Member.following - 1)
        )
        db.execute(
            update(Member).where(Member.id == followed_id).values(followers=Member.followers - 1)
        )
    return bool(deleted.rowcount)
