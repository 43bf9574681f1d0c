"""the network

Revision 0003, after 0002.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

import tanuki.platform.database.types

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# The search beside its table, as it was at this step.
FTS5 = (
    "create virtual table if not exists post_fts using fts5(words, content='post_text', content_rowid='post_id', tokenize='ascii', detail='none', columnsize=0)",
    "create trigger if not exists post_text_put after insert on post_text begin insert into post_fts(rowid, words) values (new.post_id, new.words); end",
    "create trigger if not exists post_text_take after delete on post_text begin insert into post_fts(post_fts, rowid, words) values ('delete', old.post_id, old.words); end",
    "create trigger if not exists post_text_change after update of words on post_text begin insert into post_fts(post_fts, rowid, words) values ('delete', old.post_id, old.words); insert into post_fts(rowid, words) values (new.post_id, new.words); end",
)
TSVECTOR = (
    "alter table post_text set (toast_tuple_target = 8160)",
    "alter table post_text alter column words set storage external",
    "create index if not exists ix_post_text_words on post_text using gin (words) with (fastupdate = off)",
)


def upgrade() -> None:
    op.create_table(
        "account_gone",
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("at", tanuki.platform.database.types.Utc(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_account_gone")),
    )
    op.create_table(
        "banned_word",
        sa.Column("word", sa.String(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("at", tanuki.platform.database.types.Utc(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("word", name=op.f("pk_banned_word")),
    )
    op.create_table(
        "event",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("at", tanuki.platform.database.types.Utc(timezone=True), nullable=False),
        sa.Column("person", sa.String(), nullable=True),
        sa.Column("values", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_event")),
    )
    with op.batch_alter_table("event", schema=None) as batch_op:
        batch_op.create_index("ix_event_kind", ["kind", "id"], unique=False)

    op.create_table(
        "moderation_case",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("subject_id", sa.Integer(), nullable=False),
        sa.Column("member_id", sa.Integer(), nullable=True),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("weight", sa.Double(), nullable=False),
        sa.Column("reports", sa.Integer(), nullable=False),
        sa.Column("opened_at", tanuki.platform.database.types.Utc(timezone=True), nullable=False),
        sa.Column("decided_at", tanuki.platform.database.types.Utc(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_moderation_case")),
    )
    with op.batch_alter_table("moderation_case", schema=None) as batch_op:
        batch_op.create_index("ix_moderation_case_queue", ["state", "weight", "id"], unique=False)
        batch_op.create_index("ix_moderation_case_subject", ["subject", "subject_id"], unique=False)
        batch_op.create_index(
            "uq_moderation_case_open",
            ["subject", "subject_id"],
            unique=True,
            sqlite_where=sa.text("state = 'open'"),
            postgresql_where=sa.text("state = 'open'"),
        )

    op.create_table(
        "photo",
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("bytes", sa.Integer(), nullable=False),
        sa.Column("colour", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("added_at", tanuki.platform.database.types.Utc(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_photo")),
    )
    op.create_table(
        "photo_barred",
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("why", sa.String(), nullable=False),
        sa.Column("at", tanuki.platform.database.types.Utc(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_photo_barred")),
    )
    op.create_table(
        "rate_limit",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("used", sa.Integer(), nullable=False),
        sa.Column("until", tanuki.platform.database.types.Utc(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_rate_limit")),
    )
    with op.batch_alter_table("rate_limit", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_rate_limit_until"), ["until"], unique=False)

    op.create_table(
        "search_word",
        sa.Column(
            "key", sa.String().with_variant(sa.String(collation="C"), "postgresql"), nullable=False
        ),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column(
            "word", sa.String().with_variant(sa.String(collation="C"), "postgresql"), nullable=False
        ),
        sa.Column("posts", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("key", "kind", "word", name=op.f("pk_search_word")),
    )
    op.create_table(
        "trail_entry",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", tanuki.platform.database.types.Utc(timezone=True), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("what", sa.String(), nullable=False),
        sa.Column("about", sa.String(), nullable=False),
        sa.Column("values", sa.JSON(), nullable=False),
        sa.Column("previous", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trail_entry")),
    )
    with op.batch_alter_table("trail_entry", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_trail_entry_about"), ["about"], unique=False)

    op.create_table(
        "trail_head",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("entries", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trail_head")),
    )
    op.create_table(
        "member",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("display", sa.String(), nullable=False),
        sa.Column("about", sa.String(), nullable=False),
        sa.Column("photo", sa.String(), nullable=True),
        sa.Column("pseudonym", sa.String(), nullable=False),
        sa.Column("events", sa.Boolean(), nullable=False),
        sa.Column("joined_at", tanuki.platform.database.types.Utc(timezone=True), nullable=False),
        sa.Column("banned_at", tanuki.platform.database.types.Utc(timezone=True), nullable=True),
        sa.Column("banned_why", sa.String(), nullable=True),
        sa.Column("left_at", tanuki.platform.database.types.Utc(timezone=True), nullable=True),
        sa.Column("posts", sa.Integer(), nullable=False),
        sa.Column("followers", sa.Integer(), nullable=False),
        sa.Column("following", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["name"], ["account.name"], name=op.f("fk_member_name")),
        sa.ForeignKeyConstraint(["photo"], ["photo.digest"], name=op.f("fk_member_photo")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_member")),
        sa.UniqueConstraint("name", name=op.f("uq_member_name")),
        sa.UniqueConstraint("pseudonym", name=op.f("uq_member_pseudonym")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("member", schema=None) as batch_op:
        batch_op.create_index(
            "ix_member_left",
            ["left_at"],
            unique=False,
            sqlite_where=sa.text("left_at is not null"),
            postgresql_where=sa.text("left_at is not null"),
        )
        batch_op.create_index("ix_member_photo", ["photo"], unique=False)

    op.create_table(
        "moderation_decision",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("case_id", sa.Integer(), nullable=False),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("note", sa.String(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("at", tanuki.platform.database.types.Utc(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["case_id"], ["moderation_case.id"], name=op.f("fk_moderation_decision_case_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_moderation_decision")),
    )
    with op.batch_alter_table("moderation_decision", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_moderation_decision_case_id"), ["case_id"], unique=False
        )

    op.create_table(
        "moderation_report",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("case_id", sa.Integer(), nullable=False),
        sa.Column("reporter_id", sa.Integer(), nullable=True),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("words", sa.String(), nullable=False),
        sa.Column("at", tanuki.platform.database.types.Utc(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["case_id"], ["moderation_case.id"], name=op.f("fk_moderation_report_case_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_moderation_report")),
        sa.UniqueConstraint(
            "case_id", "reporter_id", name=op.f("uq_moderation_report_case_id_reporter_id")
        ),
    )
    op.create_table(
        "follow",
        sa.Column("follower_id", sa.Integer(), nullable=False),
        sa.Column("followed_id", sa.Integer(), nullable=False),
        sa.Column("at", tanuki.platform.database.types.Utc(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["followed_id"], ["member.id"], name=op.f("fk_follow_followed_id")),
        sa.ForeignKeyConstraint(["follower_id"], ["member.id"], name=op.f("fk_follow_follower_id")),
        sa.PrimaryKeyConstraint("follower_id", "followed_id", name=op.f("pk_follow")),
    )
    with op.batch_alter_table("follow", schema=None) as batch_op:
        batch_op.create_index(
            "ix_follow_followed", ["followed_id", "at", "follower_id"], unique=False
        )

    op.create_table(
        "member_shut",
        sa.Column("member_id", sa.Integer(), nullable=False),
        sa.Column("other_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("at", tanuki.platform.database.types.Utc(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["member_id"], ["member.id"], name=op.f("fk_member_shut_member_id")
        ),
        sa.ForeignKeyConstraint(["other_id"], ["member.id"], name=op.f("fk_member_shut_other_id")),
        sa.PrimaryKeyConstraint("member_id", "other_id", name=op.f("pk_member_shut")),
    )
    with op.batch_alter_table("member_shut", schema=None) as batch_op:
        batch_op.create_index("ix_member_shut_other", ["other_id", "kind"], unique=False)

    op.create_table(
        "moderation_appeal",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("decision_id", sa.Integer(), nullable=False),
        sa.Column("member_id", sa.Integer(), nullable=True),
        sa.Column("words", sa.String(), nullable=False),
        sa.Column("at", tanuki.platform.database.types.Utc(timezone=True), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("decided_by", sa.String(), nullable=True),
        sa.Column("decided_at", tanuki.platform.database.types.Utc(timezone=True), nullable=True),
        sa.Column("answer", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(
            ["decision_id"],
            ["moderation_decision.id"],
            name=op.f("fk_moderation_appeal_decision_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_moderation_appeal")),
        sa.UniqueConstraint("decision_id", name=op.f("uq_moderation_appeal_decision_id")),
    )
    op.create_table(
        "post",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("member_id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("photo", sa.String(), nullable=False),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("tags", sa.JSON(), nullable=False),
        sa.Column("category", sa.String(), nullable=False),
        sa.Column("breed", sa.String(), nullable=True),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("why", sa.String(), nullable=True),
        sa.Column("note", sa.String(), nullable=True),
        sa.Column("before", sa.String(), nullable=True),
        sa.Column("posted_at", tanuki.platform.database.types.Utc(timezone=True), nullable=False),
        sa.Column(
            "published_at", tanuki.platform.database.types.Utc(timezone=True), nullable=True
        ),
        sa.Column("edited_at", tanuki.platform.database.types.Utc(timezone=True), nullable=True),
        sa.Column("deleted_at", tanuki.platform.database.types.Utc(timezone=True), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("likes", sa.Integer(), nullable=False),
        sa.Column("comments", sa.Integer(), nullable=False),
        sa.Column("heat", sa.Double(), nullable=False),
        sa.Column("source", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(["member_id"], ["member.id"], name=op.f("fk_post_member_id")),
        sa.ForeignKeyConstraint(["photo"], ["photo.digest"], name=op.f("fk_post_photo")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_post")),
        sa.UniqueConstraint("member_id", "key", name=op.f("uq_post_member_id_key")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("post", schema=None) as batch_op:
        batch_op.create_index(
            "ix_post_category", ["category", "state", "published_at", "id"], unique=False
        )
        batch_op.create_index("ix_post_heat", ["state", "heat", "id"], unique=False)
        batch_op.create_index(
            "ix_post_likes", ["state", "likes", "published_at", "id"], unique=False
        )
        batch_op.create_index(
            "ix_post_member", ["member_id", "state", "published_at", "id"], unique=False
        )
        batch_op.create_index("ix_post_newest", ["state", "published_at", "id"], unique=False)
        batch_op.create_index("ix_post_photo", ["photo"], unique=False)

    op.create_table(
        "notification",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("member_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("about", sa.String(), nullable=False),
        sa.Column("actor_id", sa.Integer(), nullable=True),
        sa.Column("post_id", sa.Integer(), nullable=True),
        sa.Column("values", sa.JSON(), nullable=False),
        sa.Column("at", tanuki.platform.database.types.Utc(timezone=True), nullable=False),
        sa.Column("seen_at", tanuki.platform.database.types.Utc(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["actor_id"], ["member.id"], name=op.f("fk_notification_actor_id")),
        sa.ForeignKeyConstraint(
            ["member_id"], ["member.id"], name=op.f("fk_notification_member_id")
        ),
        sa.ForeignKeyConstraint(["post_id"], ["post.id"], name=op.f("fk_notification_post_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notification")),
        sa.UniqueConstraint(
            "member_id", "kind", "about", name=op.f("uq_notification_member_id_kind_about")
        ),
    )
    with op.batch_alter_table("notification", schema=None) as batch_op:
        batch_op.create_index("ix_notification_actor", ["actor_id"], unique=False)
        batch_op.create_index("ix_notification_member", ["member_id", "id"], unique=False)
        batch_op.create_index("ix_notification_post", ["post_id"], unique=False)

    op.create_table(
        "post_comment",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("post_id", sa.Integer(), nullable=False),
        sa.Column("member_id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("words", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("why", sa.String(), nullable=True),
        sa.Column("note", sa.String(), nullable=True),
        sa.Column("at", tanuki.platform.database.types.Utc(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["member_id"], ["member.id"], name=op.f("fk_post_comment_member_id")
        ),
        sa.ForeignKeyConstraint(["post_id"], ["post.id"], name=op.f("fk_post_comment_post_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_post_comment")),
        sa.UniqueConstraint("member_id", "key", name=op.f("uq_post_comment_member_id_key")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("post_comment", schema=None) as batch_op:
        batch_op.create_index("ix_post_comment_post", ["post_id", "id"], unique=False)

    op.create_table(
        "post_edit",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("post_id", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("words", sa.JSON(), nullable=False),
        sa.Column("at", tanuki.platform.database.types.Utc(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["post_id"], ["post.id"], name=op.f("fk_post_edit_post_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_post_edit")),
    )
    with op.batch_alter_table("post_edit", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_post_edit_post_id"), ["post_id"], unique=False)

    op.create_table(
        "post_like",
        sa.Column("post_id", sa.Integer(), nullable=False),
        sa.Column("member_id", sa.Integer(), nullable=False),
        sa.Column("at", tanuki.platform.database.types.Utc(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["member_id"], ["member.id"], name=op.f("fk_post_like_member_id")),
        sa.ForeignKeyConstraint(["post_id"], ["post.id"], name=op.f("fk_post_like_post_id")),
        sa.PrimaryKeyConstraint("post_id", "member_id", name=op.f("pk_post_like")),
    )
    with op.batch_alter_table("post_like", schema=None) as batch_op:
        batch_op.create_index("ix_post_like_member", ["member_id", "at", "post_id"], unique=False)
        batch_op.create_index("ix_post_like_post", ["post_id", "at", "member_id"], unique=False)

    op.create_table(
        "post_tag",
        sa.Column("tag", sa.String(), nullable=False),
        sa.Column("post_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["post_id"], ["post.id"], name=op.f("fk_post_tag_post_id")),
        sa.PrimaryKeyConstraint("tag", "post_id", name=op.f("pk_post_tag")),
    )
    with op.batch_alter_table("post_tag", schema=None) as batch_op:
        batch_op.create_index("ix_post_tag_post", ["post_id"], unique=False)

    op.create_table(
        "post_text",
        sa.Column("post_id", sa.Integer(), nullable=False),
        sa.Column(
            "words", sa.Text().with_variant(postgresql.TSVECTOR(), "postgresql"), nullable=False
        ),
        sa.Column("counted", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["post_id"], ["post.id"], name=op.f("fk_post_text_post_id")),
        sa.PrimaryKeyConstraint("post_id", name=op.f("pk_post_text")),
    )
    op.create_table(
        "post_places",
        sa.Column("post_id", sa.Integer(), nullable=False),
        sa.Column("title", sa.JSON(), nullable=False),
        sa.Column("description", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["post_id"], ["post.id"], name=op.f("fk_post_places_post_id")),
        sa.PrimaryKeyConstraint("post_id", name=op.f("pk_post_places")),
    )
    with op.batch_alter_table("account_session", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_account_session_expires_at"), ["expires_at"], unique=False
        )

    with op.batch_alter_table("account_token", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column("scopes", sa.String(), server_default="read write", nullable=False)
        )
    for statement in FTS5 if op.get_bind().dialect.name == "sqlite" else TSVECTOR:
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for statement in (
            "drop table if exists post_fts",
            *(f"drop trigger if exists post_text_{name}" for name in ("put", "take", "change")),
        ):
            op.get_bind().exec_driver_sql(statement)
    with op.batch_alter_table("account_token", schema=None) as batch_op:
        batch_op.drop_column("scopes")

    with op.batch_alter_table("account_session", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_account_session_expires_at"))

    op.drop_table("post_places")
    op.drop_table("post_text")
    with op.batch_alter_table("post_tag", schema=None) as batch_op:
        batch_op.drop_index("ix_post_tag_post")

    op.drop_table("post_tag")
    with op.batch_alter_table("post_like", schema=None) as batch_op:
        batch_op.drop_index("ix_post_like_post")
        batch_op.drop_index("ix_post_like_member")

    op.drop_table("post_like")
    with op.batch_alter_table("post_edit", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_post_edit_post_id"))

    op.drop_table("post_edit")
    with op.batch_alter_table("post_comment", schema=None) as batch_op:
        batch_op.drop_index("ix_post_comment_post")

    op.drop_table("post_comment")
    with op.batch_alter_table("notification", schema=None) as batch_op:
        batch_op.drop_index("ix_notification_post")
        batch_op.drop_index("ix_notification_member")
        batch_op.drop_index("ix_notification_actor")

    op.drop_table("notification")
    with op.batch_alter_table("post", schema=None) as batch_op:
        batch_op.drop_index("ix_post_photo")
        batch_op.drop_index("ix_post_newest")
        batch_op.drop_index("ix_post_member")
        batch_op.drop_index("ix_post_likes")
        batch_op.drop_index("ix_post_heat")
        batch_op.drop_index("ix_post_category")

    op.drop_table("post")
    op.drop_table("moderation_appeal")
    with op.batch_alter_table("member_shut", schema=None) as batch_op:
        batch_op.drop_index("ix_member_shut_other")

    op.drop_table("member_shut")
    with op.batch_alter_table("follow", schema=None) as batch_op:
        batch_op.drop_index("ix_follow_followed")

    op.drop_table("follow")
    op.drop_table("moderation_report")
    with op.batch_alter_table("moderation_decision", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_moderation_decision_case_id"))

    op.drop_table("moderation_decision")
    with op.batch_alter_table("member", schema=None) as batch_op:
        batch_op.drop_index("ix_member_photo")
        batch_op.drop_index(
            "ix_member_left",
            sqlite_where=sa.text("left_at is not null"),
            postgresql_where=sa.text("left_at is not null"),
        )

    op.drop_table("member")
    op.drop_table("trail_head")
    with op.batch_alter_table("trail_entry", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_trail_entry_about"))

    op.drop_table("trail_entry")
    op.drop_table("search_word")
    with op.batch_alter_table("rate_limit", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_rate_limit_until"))

    op.drop_table("rate_limit")
    op.drop_table("photo_barred")
    op.drop_table("photo")
    with op.batch_alter_table("moderation_case", schema=None) as batch_op:
        batch_op.drop_index(
            "uq_moderation_case_open",
            sqlite_where=sa.text("state = 'open'"),
            postgresql_where=sa.text("state = 'open'"),
        )
        batch_op.drop_index("ix_moderation_case_subject")
        batch_op.drop_index("ix_moderation_case_queue")

    op.drop_table("moderation_case")
    with op.batch_alter_table("event", schema=None) as batch_op:
        batch_op.drop_index("ix_event_kind")

    op.drop_table("event")
    op.drop_table("banned_word")
    op.drop_table("account_gone")
