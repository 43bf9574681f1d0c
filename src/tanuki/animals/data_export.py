"""A member's data as a ZIP archive, streamed while it is read.

It has what the member posted, wrote and did, and what was decided about them. Other members appear
only by name.
"""

import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any
from zipfile import ZIP_DEFLATED, ZIP_STORED

from sqlalchemy import Select, select
from sqlalchemy.orm import Session, aliased
from zipstream import ZipStream

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

CHUNK_BYTES = 256 * 1024  # of JSON that is compressed at once
ROWS_PER_FETCH = 100
OTHER_MEMBER_COLUMN = "whom"  # of events: another member's pseudonym, which is not exported


def stream_archive(
    db: Session, objects: ObjectStore, who: Person, *, now: datetime
) -> Iterator[bytes]:
    """The archive in chunks; memory holds one photo or one chunk of a list at a time.

    The session must stay open until the last chunk.
    """
    member = members.require_member(db, who)
    archive = ZipStream(compress_type=ZIP_DEFLATED)
    archive.add(encode_record(profile_record(db, who, member)), "profile.json")
    lists = {name: stream_rows(db, query) for name, query in list_queries(member, now).items()}
    lists["recorded"] = stream_events(db, objects, member)
    for name, records in lists.items():
        archive.add(stream_json(records), f"{name}.json")
        yield from archive.all_files()
    for digest in list_image_digests(db, member):
        try:
            content = objects.get(photo_files.object_key(digest, "full"))
        except NotFound:  # deleted since the archive was begun
            continue
        archive.add(content, f"pictures/{digest}.jpg", compress_type=ZIP_STORED)
        yield from archive.all_files()
    yield from archive.finalize()


def stream_own_archive(
    database: Database, objects: ObjectStore, who: Person, *, now: datetime
) -> Iterator[bytes]:
    """The archive with a session of its own, for a streamed response.

    Raises NotFound before the first chunk if the person is not a member.
    """
    with database.read() as db:
        members.require_member(db, who)

    def chunks() -> Iterator[bytes]:
        with database.read() as db:
            yield from stream_archive(db, objects, who, now=now)

    return chunks()


def stream_json(records: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    """A JSON list, one record per line, in chunks of about `CHUNK_BYTES`."""
    chunk, separator = bytearray(b"["), b"\n"
    for record in records:
        chunk += separator + encode_record(record)
        separator = b",\n"
        if len(chunk) > CHUNK_BYTES:
            yield bytes(chunk)
            chunk.clear()
    yield bytes(chunk) + b"\n]\n"


def encode_record(record: dict[str, Any]) -> bytes:
    """A record as JSON: letters unescaped, moments in ISO 8601."""
    return json.dumps(record, ensure_ascii=False, default=datetime.isoformat).encode()


def stream_rows(db: Session, query: Select[Any]) -> Iterator[dict[str, Any]]:
    """The rows of a query, fetched a few at a time."""
    for row in db.execute(query.execution_options(yield_per=ROWS_PER_FETCH)).mappings():
        yield dict(row)


# ---- the records ---------------------------------------------------------------------------------


def profile_record(db: Session, who: Person, member: Member) -> dict[str, Any]:
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
    picture = member.photo and f"pictures/{member.photo}.jpg"
    return {
        **{name: getattr(member, name) for name in shown},
        "picture": picture,
        "roles": roles,
        "language": lang,
        "theme": theme,
    }


def list_queries(member: Member, now: datetime) -> dict[str, Select[Any]]:
    """The queries behind the archive's lists; their columns are the keys of the records."""
    present = Member.left_at.is_(None)
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
    notification = select(
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
        "posts": post.where(Post.member_id == member.id).order_by(Post.id),
        "earlier_texts": edit.where(Post.member_id == member.id).order_by(PostEdit.id),
        "comments": comment.join(Post, Post.id == Comment.post_id)
        .join(owner, owner.id == Post.member_id)
        .where(Comment.member_id == member.id)
        .order_by(Comment.id),
        "likes": like.join(owner, owner.id == Post.member_id)
        .where(Like.member_id == member.id)
        .order_by(Like.at, Like.post_id),
        "following": select(Member.name, Follow.at)
        .join(Follow, Follow.followed_id == Member.id)
        .where(Follow.follower_id == member.id, present)
        .order_by(Follow.at, Member.id),
        "followers": select(Member.name, Follow.at)
        .join(Follow, Follow.follower_id == Member.id)
        .where(Follow.followed_id == member.id, present)
        .order_by(Follow.at, Member.id),
        "blocked_and_muted": select(Member.name, Block.kind, Block.at)
        .join(Block, Block.target_id == Member.id)
        .where(Block.member_id == member.id, present)
        .order_by(Block.at, Member.id),
        "notifications": notification.outerjoin(Member, Member.id == Notification.actor_id)
        .where(Notification.member_id == member.id)
        .order_by(Notification.id),
        "reports": select(*about, Report.reason, Report.text, Report.at, Case.state)
        .join(Report, Report.case_id == Case.id)
        .where(Report.reporter_id == member.id)
        .order_by(Report.id),
        "decisions": decision.join(Case, Case.id == Decision.case_id)
        .where(Case.member_id == member.id)
        .order_by(Decision.id),
        "appeals": appeal.join(Decision, Decision.id == Appeal.decision_id)
        .join(Case, Case.id == Decision.case_id)
        .where(Appeal.member_id == member.id)
        .order_by(Appeal.id),
        "sessions": select(AccountSession.created_at, AccountSession.expires_at)
        .where(AccountSession.name == member.name, AccountSession.expires_at > now)
        .order_by(AccountSession.created_at),
        "tokens": token.where(AccountToken.name == member.name).order_by(
            AccountToken.created_at, AccountToken.label
        ),
    }


def stream_events(db: Session, objects: ObjectStore, member: Member) -> Iterator[dict[str, Any]]:
    """The events under the member's pseudonym: those in the warehouse, then the newer ones."""
    warehouse = Warehouse(objects)
    for kind in EVENT_KINDS:
        files = warehouse.load_files(db, kind.table.name)
        if not files:
            continue
        columns = ", ".join(f'"{name}"' for name in kind.schema if name != OTHER_MEMBER_COLUMN)
        with warehouse.connect_duckdb() as duck:
            duck.execute(
                f"select happened_at as at, {columns} from {warehouse.parquet_sql(files)}"
                " where person = ? and not removed",
                [member.pseudonym],
            )
            names = [column[0] for column in duck.description or ()]
            while rows := duck.fetchmany(ROWS_PER_FETCH):
                yield from (
                    {"kind": kind.name, **dict(zip(names, row, strict=True))} for row in rows
                )
    waiting = (
        select(Event.kind, Event.at, Event.values)
        .where(Event.person == member.pseudonym)
        .order_by(Event.id)
    )
    for row in stream_rows(db, waiting):
        values = {
            name: value for name, value in row["values"].items() if name != OTHER_MEMBER_COLUMN
        }
        yield {"kind": row["kind"], "at": row["at"], **values}


def list_image_digests(db: Session, member: Member) -> list[str]:
    """The digests of the photos of the member's posts and profile."""
    own = Post.member_id == member.id
    photos = select(Post.photo).where(own)
    originals = select(Post.original).where(own, Post.original.is_not(None))
    digests = set(db.scalars(photos.union(originals)))
    return sorted(digests | ({member.photo} if member.photo else set()))
