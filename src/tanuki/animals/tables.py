"""Tables of the community. Events (impressions, clicks) are in the warehouse, not here."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, LargeBinary, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from tanuki.platform.database.engine import Base
from tanuki.platform.database.types import one_of

# The id of a deleted row is never given again: durable runs and events are named after it.
NEVER_REUSE_IDS = {"sqlite_autoincrement": True}


class BlockKind(StrEnum):
    """How one member shuts out another. A block includes the mute and works both ways."""

    MUTE = "mute"
    BLOCK = "block"


class PostState(StrEnum):
    """`checking`: only its owner sees it. `held`: a rule or a moderator withheld it for a
    decision. `removed`: by a moderator. `deleted`: by its owner, who can undo it for a while."""

    CHECKING = "checking"
    PUBLISHED = "published"
    HELD = "held"
    REMOVED = "removed"
    DELETED = "deleted"


class CommentState(StrEnum):
    """`removed`: by a moderator. `deleted`: by its author."""

    SHOWN = "shown"
    REMOVED = "removed"
    DELETED = "deleted"


class NotificationKind(StrEnum):
    """What a member is told about."""

    LIKE = "like"
    FOLLOW = "follow"
    COMMENT = "comment"
    PUBLISHED = "published"
    HELD = "held"
    REMOVED = "removed"
    RESTORED = "restored"
    WARNED = "warned"
    BANNED = "banned"
    UNBANNED = "unbanned"
    APPEAL = "appeal"


class SubjectKind(StrEnum):
    """What a report, a case or a decision can be about."""

    POST = "post"
    COMMENT = "comment"
    MEMBER = "member"


class CaseState(StrEnum):
    """State of a moderation case."""

    OPEN = "open"
    DECIDED = "decided"


class Action(StrEnum):
    """What a moderator can decide. `keep`: nothing is wrong."""

    KEEP = "keep"
    HOLD = "hold"
    REMOVE = "remove"
    RESTORE = "restore"
    WARN = "warn"
    BAN = "ban"
    UNBAN = "unban"


class AppealState(StrEnum):
    """`upheld`: the decision stays. `overturned`: it is reverted."""

    OPEN = "open"
    UPHELD = "upheld"
    OVERTURNED = "overturned"


# ---- members -------------------------------------------------------------------------------------


class Member(Base):
    """A member of the community. `name` is the account's, and their address on the site. The row is
    deleted when the member has left."""

    __tablename__ = "member"
    __table_args__ = (
        Index("ix_member_photo", "photo"),
        Index(
            "ix_member_left",
            "left_at",
            sqlite_where=text("left_at is not null"),
            postgresql_where=text("left_at is not null"),
        ),
        NEVER_REUSE_IDS,
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(ForeignKey("account.name"), unique=True)
    display: Mapped[str]
    about: Mapped[str] = mapped_column(default="")
    photo: Mapped[str | None] = mapped_column(ForeignKey("photo.digest"))
    # Stands for the member in events. It is random, so nothing leads back once the member left.
    pseudonym: Mapped[str] = mapped_column(unique=True)
    # Whether their views may be logged under the pseudonym.
    events: Mapped[bool] = mapped_column(default=True)
    joined_at: Mapped[datetime]
    banned_at: Mapped[datetime | None]
    ban_reason: Mapped[str | None]
    # They are leaving: hidden from everybody while a durable run deletes their data.
    left_at: Mapped[datetime | None]
    posts: Mapped[int] = mapped_column(default=0)  # published ones
    followers: Mapped[int] = mapped_column(default=0)
    following: Mapped[int] = mapped_column(default=0)


class Follow(Base):
    """A member follows another."""

    __tablename__ = "follow"
    __table_args__ = (Index("ix_follow_followed", "followed_id", "at", "follower_id"),)

    follower_id: Mapped[int] = mapped_column(ForeignKey("member.id"), primary_key=True)
    followed_id: Mapped[int] = mapped_column(ForeignKey("member.id"), primary_key=True)
    at: Mapped[datetime]


class Block(Base):
    """A member mutes another, or blocks them, which hides both from each other."""

    __tablename__ = "member_block"
    __table_args__ = (Index("ix_member_block_target", "target_id", "kind"),)

    member_id: Mapped[int] = mapped_column(ForeignKey("member.id"), primary_key=True)
    target_id: Mapped[int] = mapped_column(ForeignKey("member.id"), primary_key=True)
    kind: Mapped[BlockKind] = mapped_column(one_of(BlockKind))
    at: Mapped[datetime]


# ---- photos and posts ----------------------------------------------------------------------------


class Photo(Base):
    """A cleaned upload in several sizes: upright, sRGB, without metadata, stored once by hash."""

    __tablename__ = "photo"

    digest: Mapped[str] = mapped_column(primary_key=True)
    width: Mapped[int]  # of the largest size, pixels
    height: Mapped[int]
    bytes: Mapped[int]  # of the largest size
    colour: Mapped[str]  # the mean, #rrggbb: shown while the photo loads
    source: Mapped[str]  # of the upload: jpeg, png, webp or heic
    added_at: Mapped[datetime]


class ImageFeatures(Base):
    """What one version of the image model computed for a photo.

    Ids grow, so what an index does not have yet has a larger id than what it has.
    """

    __tablename__ = "image_features"
    __table_args__ = (
        UniqueConstraint("encoder_version", "digest"),
        Index("ix_image_features_digest", "digest"),
        NEVER_REUSE_IDS,
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    digest: Mapped[str] = mapped_column(ForeignKey("photo.digest", ondelete="CASCADE"))
    encoder_version: Mapped[str]  # the version of the model that looked
    embedding: Mapped[bytes] = mapped_column(
        LargeBinary
    )  # float16, little-endian, of length 1 as a vector
    classes: Mapped[list[list[float]]] = mapped_column(
        JSON
    )  # the likeliest ImageNet classes, [number, share of certainty], the surest first
    animal_score: Mapped[float]  # how sure it is that an animal is in it, 0 to 1
    lightness: Mapped[float]  # mean lightness, 0 to 1
    sharpness: Mapped[float]  # variance of the Laplacian of the picture at a fixed size
    phash: Mapped[str]  # perceptual hash, 16 hexadecimal digits
    at: Mapped[datetime]


class BlockedImageHash(Base):
    """The hash of an image that moderators removed; a new post with it is held.

    It stays when the post is gone.
    """

    __tablename__ = "blocked_image_hash"

    digest: Mapped[str] = mapped_column(primary_key=True)
    reason: Mapped[str]
    at: Mapped[datetime]


class BannedWord(Base):
    """A word, folded, that holds posts for a moderator."""

    __tablename__ = "banned_word"

    word: Mapped[str] = mapped_column(primary_key=True)
    by: Mapped[str]
    at: Mapped[datetime]


class Post(Base):
    """A photo with a title, a description and tags."""

    __tablename__ = "post"
    __table_args__ = (
        UniqueConstraint("member_id", "key"),
        Index("ix_post_newest", "state", "published_at", "id"),
        Index("ix_post_category", "category", "state", "published_at", "id"),
        Index("ix_post_member", "member_id", "state", "published_at", "id"),
        Index("ix_post_hot_score", "state", "hot_score", "id"),
        Index("ix_post_likes", "state", "likes", "published_at", "id"),
        Index("ix_post_photo", "photo"),
        Index(
            "ix_post_original",
            "original",
            sqlite_where=text("original is not null"),
            postgresql_where=text("original is not null"),
        ),
        NEVER_REUSE_IDS,
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    member_id: Mapped[int] = mapped_column(ForeignKey("member.id"))
    key: Mapped[str]  # the sender's idempotency key
    photo: Mapped[str] = mapped_column(ForeignKey("photo.digest"))
    title: Mapped[str]
    description: Mapped[str]
    tags: Mapped[list[str]] = mapped_column(JSON)
    category: Mapped[str]  # a key of taxonomy.CATEGORIES
    breed: Mapped[str | None]  # a key of taxonomy.BREEDS
    state: Mapped[PostState] = mapped_column(one_of(PostState), default=PostState.CHECKING)
    reason: Mapped[str | None]  # why it is held or removed: a code of a rule or a reason
    note: Mapped[str | None]  # a moderator's, to the owner
    previous_state: Mapped[PostState | None] = mapped_column(  # for the undo of a deletion
        one_of(PostState, name="previouspoststate")
    )
    posted_at: Mapped[datetime]
    published_at: Mapped[datetime | None]
    edited_at: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None]
    version: Mapped[int] = mapped_column(default=1)  # grows with each edit
    likes: Mapped[int] = mapped_column(default=0)
    comments: Mapped[int] = mapped_column(default=0)  # those that are shown
    hot_score: Mapped[float] = mapped_column(default=0.0)
    source: Mapped[str | None]  # the imported file
    # The uploaded photo, if an enhanced one is shown.
    original: Mapped[str | None] = mapped_column(ForeignKey("photo.digest"))


class PostTag(Base):
    """A tag, folded, of a published post."""

    __tablename__ = "post_tag"
    __table_args__ = (Index("ix_post_tag_post", "post_id"),)

    tag: Mapped[str] = mapped_column(primary_key=True)
    post_id: Mapped[int] = mapped_column(ForeignKey("post.id"), primary_key=True)


class PostEdit(Base):
    """The text of a post before an edit, so that moderators see what a report was about."""

    __tablename__ = "post_edit"

    id: Mapped[int] = mapped_column(primary_key=True)
    post_id: Mapped[int] = mapped_column(ForeignKey("post.id"), index=True)
    version: Mapped[int]
    content: Mapped[dict[str, Any]] = mapped_column(JSON)
    at: Mapped[datetime]


# ---- what members do with posts ------------------------------------------------------------------


class Like(Base):
    """A member likes a post."""

    __tablename__ = "post_like"
    __table_args__ = (
        Index("ix_post_like_member", "member_id", "at", "post_id"),
        Index("ix_post_like_post", "post_id", "at", "member_id"),
    )

    post_id: Mapped[int] = mapped_column(ForeignKey("post.id"), primary_key=True)
    member_id: Mapped[int] = mapped_column(ForeignKey("member.id"), primary_key=True)
    at: Mapped[datetime]


class Comment(Base):
    """A comment of a member on a post."""

    __tablename__ = "post_comment"
    __table_args__ = (
        UniqueConstraint("member_id", "key"),
        Index("ix_post_comment_post", "post_id", "id"),
        NEVER_REUSE_IDS,
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    post_id: Mapped[int] = mapped_column(ForeignKey("post.id"))
    member_id: Mapped[int] = mapped_column(ForeignKey("member.id"))
    key: Mapped[str]
    text: Mapped[str]
    state: Mapped[CommentState] = mapped_column(one_of(CommentState), default=CommentState.SHOWN)
    reason: Mapped[str | None]
    note: Mapped[str | None]
    at: Mapped[datetime]


class Notification(Base):
    """A notification of a member. The same `dedup_key` is told once."""

    __tablename__ = "notification"
    __table_args__ = (
        UniqueConstraint("member_id", "kind", "dedup_key"),
        Index("ix_notification_member", "member_id", "id"),
        Index("ix_notification_actor", "actor_id"),
        Index("ix_notification_post", "post_id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    member_id: Mapped[int] = mapped_column(ForeignKey("member.id"))
    kind: Mapped[NotificationKind] = mapped_column(one_of(NotificationKind))
    dedup_key: Mapped[str]  # such as post:12:member:3
    actor_id: Mapped[int | None] = mapped_column(ForeignKey("member.id"))
    post_id: Mapped[int | None] = mapped_column(ForeignKey("post.id"))
    values: Mapped[dict[str, Any]] = mapped_column(JSON)
    at: Mapped[datetime]
    seen_at: Mapped[datetime | None]


# ---- moderation ----------------------------------------------------------------------------------


class Case(Base):
    """A subject for moderators to decide about. It has at most one open case."""

    __tablename__ = "moderation_case"
    __table_args__ = (
        Index("ix_moderation_case_queue", "state", "weight", "id"),
        Index("ix_moderation_case_subject", "subject", "subject_id"),
        Index(
            "uq_moderation_case_open",
            "subject",
            "subject_id",
            unique=True,
            sqlite_where=text("state = 'open'"),
            postgresql_where=text("state = 'open'"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    subject: Mapped[SubjectKind] = mapped_column(one_of(SubjectKind))
    subject_id: Mapped[int]
    member_id: Mapped[int | None]  # the subject's owner; None once they left
    state: Mapped[CaseState] = mapped_column(one_of(CaseState), default=CaseState.OPEN)
    weight: Mapped[float] = mapped_column(default=0.0)  # the heaviest cases come first
    reports: Mapped[int] = mapped_column(default=0)
    opened_at: Mapped[datetime]
    decided_at: Mapped[datetime | None]


class Report(Base):
    """A member's report of a subject."""

    __tablename__ = "moderation_report"
    __table_args__ = (UniqueConstraint("case_id", "reporter_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    case_id: Mapped[int] = mapped_column(ForeignKey("moderation_case.id"))
    reporter_id: Mapped[int | None]  # None once they left
    reason: Mapped[str]
    text: Mapped[str]
    at: Mapped[datetime]


class Decision(Base):
    """A moderator's decision about a case."""

    __tablename__ = "moderation_decision"

    id: Mapped[int] = mapped_column(primary_key=True)
    case_id: Mapped[int] = mapped_column(ForeignKey("moderation_case.id"), index=True)
    action: Mapped[Action] = mapped_column(one_of(Action))
    reason: Mapped[str]
    note: Mapped[str]  # to the owner
    decided_by: Mapped[str]
    at: Mapped[datetime]


class Appeal(Base):
    """An owner's objection to a decision, which another moderator answers."""

    __tablename__ = "moderation_appeal"

    id: Mapped[int] = mapped_column(primary_key=True)
    decision_id: Mapped[int] = mapped_column(ForeignKey("moderation_decision.id"), unique=True)
    member_id: Mapped[int | None]
    text: Mapped[str]
    at: Mapped[datetime]
    state: Mapped[AppealState] = mapped_column(one_of(AppealState), default=AppealState.OPEN)
    decided_by: Mapped[str | None]
    decided_at: Mapped[datetime | None]
    answer: Mapped[str | None]
