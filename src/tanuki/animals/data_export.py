"""One's data as a zip archive, made while it is read: what a member posted, wrote and did, and what was decided about them; of others their names only."""

import json
import zipfile
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session, aliased

from tanuki.animals import members
from tanuki.animals.events import EVENT_KINDS
from tanuki.animals.images import photo_files
from tanuki.animals.tables import (
    Appeal,
    Block,
    Case,
    Comment,
    Decision,
    Follow,
    Like,
    Member,
    Notification,
    Post,
    PostEdit,
    Report,
)
from tanuki.errors import NotFound
from tanuki.platform import accounts
from tanuki.platform.accounts import AccountSession, AccountToken, Person
from tanuki.platform.database.engine import Database
from tanuki.platform.event_log import Event
from tanuki.platform.object_store import ObjectStore
from tanuki.platform.warehouse import Warehouse

CHUNK_BYTES = 256 * 1024  # bytes that are handed on at a time
ROWS_PER_FETCH = 100  # read at a time
OTHER_MEMBER_COLUMN = "whom"  # in events: another member's pseudonym, which is for nobody


def stream_archive(db: Session, objects: ObjectStore, who: Person, *, now: datetime) -> Iterator[bytes]:
    """A zip in pieces, in as little memory as one picture needs. The session must stay open until the last piece."""
    me = members.require_member(db, who)
    made = Pieces()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as whole:
        whole.writestr(entry("profile.json", now), encode_record(profile_record(db, who, me)))
        lists = {name: stream_rows(db, query) for name, query in list_queries(me, now).items()}
        for name, found in {**lists, "recorded": stream_events(db, objects, me)}.items():
            with whole.open(entry(f"{name}.json", now), "w", force_zip64=True) as part:
                part.write(b"[")
                for number, row in enumerate(found):
                    part.write((b",\n" if number else b"\n") + encode_record(row))
                    if made.size > CHUNK_BYTES:
                        yield made.taken()
                part.write(b"\n]\n")
        for digest in list_image_digests(db, me):
            try:
                content = objects.get(photo_files.key(digest, "full"))
            except NotFound:  # taken away, for good, since this archive was begun
                continue
            whole.writestr(entry(f"pictures/{digest}.jpg", now), content, zipfile.ZIP_STORED)
            yield made.taken()
    yield made.taken()


def stream_own_archive(
    database: Database, objects: ObjectStore, who: Person, *, now: datetime
) -> Iterator[bytes]:
    """The same with a session of its own, for an answer that is sent while it is made. Refuses who is not a member before the first piece."""
    with database.read() as db:
        members.require_member(db, who)

    def pieces() -> Iterator[bytes]:
        with database.read() as db:
            yield from stream_archive(db, objects, who, now=now)

    return pieces()


class Pieces:
    """What a zip file is written to, and taken from before it is whole."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.size = 0

    def write(self, content: bytes) -> int:
        """More of it."""
        self.parts.append(bytes(content))
        self.size += len(content)
        return len(content)

    def flush(self) -> None:
        """Nothing is kept back."""

    def close(self) -> None:
        """Nothing more will come."""

    def taken(self) -> bytes:
        """What was written since the last time."""
        whole = b"".join(self.parts)
        self.parts, self.size = [], 0
        return whole


def entry(name: str, now: datetime) -> zipfile.ZipInfo:
    """A file of the archive."""
    made = zipfile.ZipInfo(name, now.timetuple()[:6])
    made.compress_type = zipfile.ZIP_DEFLATED
    made.external_attr = 0o644 << 16
    return made


def encode_record(value: dict[str, Any]) -> bytes:
    """A record for people and programs: letters as they are, moments in ISO 8601."""
    return json.dumps(value, ensure_ascii=False, default=datetime.isoformat).encode()


def stream_rows(db: Session, query: Select[Any]) -> Iterator[dict[str, Any]]:
    """What a query finds, a little at a time."""
    for row in db.execute(query.execution_options(yield_per=ROWS_PER_FETCH)).mappings():
        yield dict(row)


# ---- what is in it -------------------------------------------------------------------------------------------------


def profile_record(db: Session, who: Person, me: Member) -> dict[str, Any]:
    """Who they are here."""
    lang, theme = accounts.load_preferences(db, who)
    shown = (
        "name",
        "display",
        "about",
        "joined_at",
        "events",
        "banned_at",
        "ban_reason",
        "posts",
        "followers",
        "following",
    )
    roles = sorted({role for role, _ in who.grants})
    picture = me.photo and f"pictures/{me.photo}.jpg"
    return {
        **{name: getattr(me, name) for name in shown},
        "picture": picture,
        "roles": roles,
        "language": lang,
        "theme": theme,
    }


def list_queries(me: Member, now: datetime) -> dict[str, Select[Any]]:
    """The archive's lists: a query each, whose columns are what stands in it."""
    there = Member.left_at.is_(None)
    owner = aliased(Member)
    picture = ("pictures/" + Post.photo + ".jpg").label("picture")
    original = ("pictures/" + Post.original + ".jpg").label("original")
    words = (Post.title, Post.description, Post.tags, Post.category, Post.breed)
    moments = (Post.posted_at, Post.published_at, Post.edited_at, Post.deleted_at)
    post = select(
        Post.id,
        *words,
        picture,
        original,
        Post.state,
        Post.reason,
        Post.note,
        *moments,
        Post.likes,
        Post.comments,
    )
    edit = select(PostEdit.post_id, PostEdit.version, PostEdit.content, PostEdit.at).join(
        Post, Post.id == PostEdit.post_id
    )
    comment = select(
        Comment.id,
        Comment.post_id,
        owner.name.label("post_of"),
        Comment.text,
        Comment.state,
        Comment.reason,
        Comment.note,
        Comment.at,
    )
    like = select(Like.post_id, owner.name.label("post_of"), Like.at).join(
        Post, Post.id == Like.post_id
    )
    told = select(
        Notification.kind,
        Member.name.label("by"),
        Notification.post_id,
        Notification.at,
        Notification.seen_at,
    )
    about = (Case.subject, Case.subject_id)
    decision = select(*about, Decision.action, Decision.reason, Decision.note, Decision.at)
    appeal = select(
        *about, Appeal.text, Appeal.at, Appeal.state, Appeal.answer, Appeal.decided_at
    ).select_from(Appeal)
    token = select(
        AccountToken.label,
        AccountToken.scopes,
        AccountToken.created_at,
        AccountToken.expires_at,
        AccountToken.last_used_at,
    )
    return {
        "posts": post.where(Post.member_id == me.id).order_by(Post.id),
        "earlier_words": edit.where(Post.member_id == me.id).order_by(PostEdit.id),
        "comments": comment.join(Post, Post.id == Comment.post_id)
        .join(owner, owner.id == Post.member_id)
        .where(Comment.member_id == me.id)
        .order_by(Comment.id),
        "likes": like.join(owner, owner.id == Post.member_id)
        .where(Like.member_id == me.id)
        .order_by(Like.at, Like.post_id),
        "following": select(Member.name, Follow.at)
        .join(Follow, Follow.followed_id == Member.id)
        .where(Follow.follower_id == me.id, there)
        .order_by(Follow.at, Member.id),
        "followers": select(Member.name, Follow.at)
        .join(Follow, Follow.follower_id == Member.id)
        .where(Follow.followed_id == me.id, there)
        .order_by(Follow.at, Member.id),
        "blocked_and_muted": select(Member.name, Block.kind, Block.at)
        .join(Block, Block.target_id == Member.id)
        .where(Block.member_id == me.id, there)
        .order_by(Block.at, Member.id),
        "notifications": told.outerjoin(Member, Member.id == Notification.actor_id)
        .where(Notification.member_id == me.id)
        .order_by(Notification.id),
        "reports": select(*about, Report.reason, Report.text, Report.at, Case.state)
        .join(Report, Report.case_id == Case.id)
        .where(Report.reporter_id == me.id)
        .order_by(Report.id),
        "decisions": decision.join(Case, Case.id == Decision.case_id)
        .where(Case.member_id == me.id)
        .order_by(Decision.id),
        "appeals": appeal.join(Decision, Decision.id == Appeal.decision_id)
        .join(Case, Case.id == Decision.case_id)
        .where(Appeal.member_id == me.id)
        .order_by(Appeal.id),
        "sessions": select(AccountSession.created_at, AccountSession.expires_at)
        .where(AccountSession.name == me.name, AccountSession.expires_at > now)
        .order_by(AccountSession.created_at),
        "tokens": token.where(AccountToken.name == me.name).order_by(
            AccountToken.created_at, AccountToken.label
        ),
    }


def stream_events(db: Session, objects: ObjectStore, me: Member) -> Iterator[dict[str, Any]]:
    """What was recorded of what they did and looked at: in the warehouse, then what is still to go there."""
    warehouse = Warehouse(objects)
    for kind in EVENT_KINDS:
        files = warehouse.files(db, kind.table.name)
        if not files:
            continue
        said = ", ".join(f'"{name}"' for name in kind.schema if name != OTHER_MEMBER_COLUMN)
        with warehouse.duck() as duck:
            duck.execute(
                f"select happened_at as at, {said} from {warehouse.parquet(files)} where person = ? and not removed",
                [me.pseudonym],
            )
            names = [column[0] for column in duck.description or ()]
            while found := duck.fetchmany(ROWS_PER_FETCH):
                yield from (
                    {"kind": kind.name, **dict(zip(names, row, strict=True))} for row in found
                )
    waiting = (
        select(Event.kind, Event.at, Event.values)
        .where(Event.person == me.pseudonym)
        .order_by(Event.id)
    )
    for row in stream_rows(db, waiting):
        values = {
            name: value for name, value in row["values"].items() if name != OTHER_MEMBER_COLUMN
        }
        yield {"kind": row["kind"], "at": row["at"], **values}


def list_image_digests(db: Session, me: Member) -> list[str]:
    """The digests of their posts' pictures and of their profile's."""
    mine = Post.member_id == me.id
    theirs = set(
        db.scalars(
            select(Post.photo)
            .where(mine)
            .union(select(Post.original).where(mine, Post.original.is_not(None)))
        )
    )
    return sorted(theirs | ({me.photo} if me.photo else set()))
