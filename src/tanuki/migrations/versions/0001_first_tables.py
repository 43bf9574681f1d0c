"""First tables: the schema of the first release."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from tanuki.platform.database.types import Utc

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# Full-text search of `post_text`, as of this revision.
FTS5 = (
    "create virtual table if not exists post_fts using fts5(tokens,"
    " content='post_text', content_rowid='post_id', tokenize='ascii', detail='none',"
    " columnsize=0)",
    "create trigger if not exists post_text_put after insert on post_text begin"
    " insert into post_fts(rowid, tokens) values (new.post_id, new.tokens); end",
    "create trigger if not exists post_text_take after delete on post_text begin"
    " insert into post_fts(post_fts, rowid, tokens) values ('delete', old.post_id,"
    " old.tokens); end",
    "create trigger if not exists post_text_change after update of tokens on"
    " post_text begin insert into post_fts(post_fts, rowid, tokens) values"
    " ('delete', old.post_id, old.tokens); insert into post_fts(rowid, tokens)"
    " values (new.post_id, new.tokens); end",
)
TSVECTOR = (
    "alter table post_text set (toast_tuple_target = 8160)",
    "alter table post_text alter column tokens set storage external",
    "create index if not exists ix_post_text_tokens on post_text using gin (tokens)"
    " with (fastupdate = off)",
)


def upgrade() -> None:
    op.create_table(
        "account",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("display_name", sa.String(), nullable=False),
        sa.Column("password_hash", sa.String(), nullable=False),
        sa.Column("password_changed_at", Utc(), nullable=False),
        sa.Column("lang", sa.String(), nullable=True),
        sa.Column("theme", sa.String(), nullable=True),
        sa.Column("created_at", Utc(), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("disabled_at", Utc(), nullable=True),
        sa.Column("disabled_by", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_account")),
    )
    op.create_table(
        "audit_log_entry",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", Utc(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("target", sa.String(), nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.Column("previous_digest", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_log_entry")),
    )
    with op.batch_alter_table("audit_log_entry", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_audit_log_entry_target"), ["target"], unique=False)

    op.create_table(
        "audit_log_head",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("entries", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_log_head")),
    )
    op.create_table(
        "banned_word",
        sa.Column("word", sa.String(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("at", Utc(), nullable=False),
        sa.PrimaryKeyConstraint("word", name=op.f("pk_banned_word")),
    )
    op.create_table(
        "blocked_image_hash",
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("at", Utc(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_blocked_image_hash")),
    )
    op.create_table(
        "deleted_account_name",
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("at", Utc(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_deleted_account_name")),
    )
    op.create_table(
        "event",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("at", Utc(), nullable=False),
        sa.Column("person", sa.String(), nullable=True),
        sa.Column("values", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_event")),
    )
    with op.batch_alter_table("event", schema=None) as batch_op:
        batch_op.create_index("ix_event_kind", ["kind", "id"], unique=False)

    op.create_table(
        "gate_verdict",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("champion", sa.String(), nullable=True),
        sa.Column(
            "decision",
            sa.Enum("GO", "NO-GO", name="decision", native_enum=False, create_constraint=True),
            nullable=False,
        ),
        sa.Column("report", sa.JSON(), nullable=False),
        sa.Column("at", Utc(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_gate_verdict")),
    )
    with op.batch_alter_table("gate_verdict", schema=None) as batch_op:
        batch_op.create_index("ix_gate_verdict_model", ["model", "id"], unique=False)

    op.create_table(
        "login_attempts",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("last_failed_at", Utc(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_login_attempts")),
    )
    op.create_table(
        "model_prediction",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column(
            "served_as",
            sa.Enum(
                "champion",
                "challenger",
                "shadow",
                "version",
                name="servedas",
                native_enum=False,
                create_constraint=True,
            ),
            nullable=False,
        ),
        sa.Column("input_hash", sa.String(), nullable=False),
        sa.Column("inputs", sa.LargeBinary(), nullable=False),
        sa.Column("outputs", sa.LargeBinary(), nullable=False),
        sa.Column("milliseconds", sa.Double(), nullable=False),
        sa.Column("at", Utc(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model_prediction")),
    )
    with op.batch_alter_table("model_prediction", schema=None) as batch_op:
        batch_op.create_index("ix_model_prediction_at", ["at"], unique=False)
        batch_op.create_index("ix_model_prediction_model", ["model", "id"], unique=False)

    op.create_table(
        "model_release",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("previous", sa.String(), nullable=True),
        sa.Column(
            "kind",
            sa.Enum(
                "gate",
                "override",
                "rollback",
                name="releasekind",
                native_enum=False,
                create_constraint=True,
            ),
            nullable=False,
        ),
        sa.Column("verdict_id", sa.Integer(), nullable=True),
        sa.Column("at", Utc(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("why", sa.String(), nullable=True),
        sa.Column("violation", sa.JSON(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model_release")),
    )
    with op.batch_alter_table("model_release", schema=None) as batch_op:
        batch_op.create_index("ix_model_release_model", ["model", "id"], unique=False)

    op.create_table(
        "model_rollout",
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("champion", sa.String(), nullable=True),
        sa.Column("challenger", sa.String(), nullable=True),
        sa.Column("files", sa.JSON(), nullable=False),
        sa.Column(
            "mode",
            sa.Enum(
                "champion_only",
                "shadow",
                "canary",
                name="rolloutmode",
                native_enum=False,
                create_constraint=True,
            ),
            nullable=False,
        ),
        sa.Column("share", sa.Double(), nullable=False),
        sa.Column("bounds", sa.JSON(), nullable=False),
        sa.Column("serial", sa.Integer(), nullable=False),
        sa.Column("at", Utc(), nullable=False),
        sa.PrimaryKeyConstraint("model", name=op.f("pk_model_rollout")),
    )
    op.create_table(
        "model_version_stats",
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("serial", sa.Integer(), nullable=False),
        sa.Column("process", sa.String(), nullable=False),
        sa.Column("counts", sa.JSON(), nullable=False),
        sa.Column("at", Utc(), nullable=False),
        sa.PrimaryKeyConstraint(
            "model", "version", "serial", "process", name=op.f("pk_model_version_stats")
        ),
    )
    op.create_table(
        "moderation_case",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column(
            "subject",
            sa.Enum(
                "post",
                "comment",
                "member",
                name="subjectkind",
                native_enum=False,
                create_constraint=True,
            ),
            nullable=False,
        ),
        sa.Column("subject_id", sa.Integer(), nullable=False),
        sa.Column("member_id", sa.Integer(), nullable=True),
        sa.Column(
            "state",
            sa.Enum("open", "decided", name="casestate", native_enum=False, create_constraint=True),
            nullable=False,
        ),
        sa.Column("weight", sa.Double(), nullable=False),
        sa.Column("reports", sa.Integer(), nullable=False),
        sa.Column("opened_at", Utc(), nullable=False),
        sa.Column("decided_at", Utc(), nullable=True),
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
        sa.Column("added_at", Utc(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_photo")),
    )
    op.create_table(
        "rate_limit_counter",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("uses", sa.Integer(), nullable=False),
        sa.Column("expires_at", Utc(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_rate_limit_counter")),
    )
    with op.batch_alter_table("rate_limit_counter", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_rate_limit_counter_expires_at"), ["expires_at"], unique=False
        )

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
        "shop_alert",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column(
            "code",
            sa.Enum(
                "bias",
                "coverage",
                "cost_plan",
                "cost_baseline",
                "drift",
                "stale_store",
                "missing_item",
                "no_evaluation",
                name="alertcode",
                native_enum=False,
                create_constraint=True,
            ),
            nullable=False,
        ),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("week", sa.String(), nullable=False),
        sa.Column("values", sa.JSON(), nullable=False),
        sa.Column("opened_at", Utc(), nullable=False),
        sa.Column("last_seen_at", Utc(), nullable=False),
        sa.Column("closed_at", Utc(), nullable=True),
        sa.Column("closed_by", sa.String(), nullable=True),
        sa.Column("why", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_shop_alert")),
    )
    with op.batch_alter_table("shop_alert", schema=None) as batch_op:
        batch_op.create_index("ix_shop_alert_open", ["closed_at", "id"], unique=False)

    op.create_table(
        "shop_cycle",
        sa.Column("week", sa.String(), nullable=False),
        sa.Column(
            "state",
            sa.Enum(
                "started",
                "aggregated",
                "forecast",
                "proposed",
                "held",
                "checked",
                "released",
                "ordered",
                "evaluated",
                name="cyclestate",
                native_enum=False,
                create_constraint=True,
            ),
            nullable=False,
        ),
        sa.Column("cutoff", sa.Date(), nullable=False),
        sa.Column("as_of", Utc(), nullable=False),
        sa.Column("auto", sa.Boolean(), nullable=False),
        sa.Column("started_by", sa.String(), nullable=False),
        sa.Column("started_at", Utc(), nullable=False),
        sa.Column("forecast_due", Utc(), nullable=False),
        sa.Column("check_due", Utc(), nullable=False),
        sa.Column("release_at", Utc(), nullable=False),
        sa.Column("confirm_due", Utc(), nullable=False),
        sa.Column("aggregated_at", Utc(), nullable=True),
        sa.Column("forecast_at", Utc(), nullable=True),
        sa.Column("proposed_at", Utc(), nullable=True),
        sa.Column("checked_at", Utc(), nullable=True),
        sa.Column("checked_by", sa.String(), nullable=True),
        sa.Column("released_at", Utc(), nullable=True),
        sa.Column("ordered_at", Utc(), nullable=True),
        sa.Column("evaluated_at", Utc(), nullable=True),
        sa.Column("sales_rows", sa.Integer(), nullable=True),
        sa.Column("findings", sa.JSON(), nullable=False),
        sa.Column("model", sa.String(), nullable=True),
        sa.Column("model_version", sa.String(), nullable=True),
        sa.Column("alert", sa.JSON(none_as_null=True), nullable=True),
        sa.PrimaryKeyConstraint("week", name=op.f("pk_shop_cycle")),
    )
    op.create_table(
        "shop_import",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("file_name", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("new", sa.Integer(), nullable=False),
        sa.Column("changed", sa.Integer(), nullable=False),
        sa.Column("unchanged", sa.Integer(), nullable=False),
        sa.Column("quarantined", sa.Integer(), nullable=False),
        sa.Column("recorded_at", Utc(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_shop_import")),
    )
    with op.batch_alter_table("shop_import", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_shop_import_sha256"), ["sha256"], unique=False)

    op.create_table(
        "shop_region",
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("name_ja", sa.String(), nullable=False),
        sa.Column("name_en", sa.String(), nullable=False),
        sa.Column("external_id", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_shop_region")),
    )
    op.create_table(
        "shop_rules",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("release_unchecked", sa.Boolean(), nullable=False),
        sa.Column("order_unconfirmed", sa.Boolean(), nullable=False),
        sa.Column("too_much", sa.Double(), nullable=False),
        sa.Column("too_little", sa.Double(), nullable=False),
        sa.Column("unusual", sa.Double(), nullable=False),
        sa.Column("service_a", sa.Double(), nullable=False),
        sa.Column("service_b", sa.Double(), nullable=False),
        sa.Column("service_c", sa.Double(), nullable=False),
        sa.Column("holding", sa.Double(), nullable=False),
        sa.Column("by", sa.String(), nullable=True),
        sa.Column("at", Utc(), nullable=True),
        sa.Column("why", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_shop_rules")),
    )
    op.create_table(
        "shop_supplier",
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("name_ja", sa.String(), nullable=False),
        sa.Column("name_en", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_shop_supplier")),
    )
    op.create_table(
        "warehouse_table",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("keys", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_warehouse_table")),
    )
    op.create_table(
        "worker_heartbeat",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("host", sa.String(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("started_at", Utc(), nullable=False),
        sa.Column("seen_at", Utc(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_worker_heartbeat")),
    )
    op.create_table(
        "account_grant",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("scope", sa.String(), nullable=False),
        sa.Column("granted_at", Utc(), nullable=False),
        sa.Column("granted_by", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["name"], ["account.name"], name=op.f("fk_account_grant_name")),
        sa.PrimaryKeyConstraint("name", "role", "scope", name=op.f("pk_account_grant")),
    )
    op.create_table(
        "account_session",
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("created_at", Utc(), nullable=False),
        sa.Column("expires_at", Utc(), nullable=False),
        sa.ForeignKeyConstraint(["name"], ["account.name"], name=op.f("fk_account_session_name")),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_account_session")),
    )
    with op.batch_alter_table("account_session", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_account_session_expires_at"), ["expires_at"], unique=False
        )
        batch_op.create_index(batch_op.f("ix_account_session_name"), ["name"], unique=False)

    op.create_table(
        "account_token",
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("label", sa.String(), nullable=False),
        sa.Column("scopes", sa.String(), server_default="read write", nullable=False),
        sa.Column("created_at", Utc(), nullable=False),
        sa.Column("expires_at", Utc(), nullable=True),
        sa.Column("last_used_at", Utc(), nullable=True),
        sa.ForeignKeyConstraint(["name"], ["account.name"], name=op.f("fk_account_token_name")),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_account_token")),
    )
    with op.batch_alter_table("account_token", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_account_token_name"), ["name"], unique=False)

    op.create_table(
        "image_features",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("encoder_version", sa.String(), nullable=False),
        sa.Column("embedding", sa.LargeBinary(), nullable=False),
        sa.Column("classes", sa.JSON(), nullable=False),
        sa.Column("animal_score", sa.Double(), nullable=False),
        sa.Column("lightness", sa.Double(), nullable=False),
        sa.Column("sharpness", sa.Double(), nullable=False),
        sa.Column("phash", sa.String(), nullable=False),
        sa.Column("at", Utc(), nullable=False),
        sa.ForeignKeyConstraint(
            ["digest"], ["photo.digest"], name=op.f("fk_image_features_digest"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_image_features")),
        sa.UniqueConstraint(
            "encoder_version", "digest", name=op.f("uq_image_features_encoder_version_digest")
        ),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("image_features", schema=None) as batch_op:
        batch_op.create_index("ix_image_features_digest", ["digest"], unique=False)

    op.create_table(
        "member",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("display", sa.String(), nullable=False),
        sa.Column("about", sa.String(), nullable=False),
        sa.Column("photo", sa.String(), nullable=True),
        sa.Column("pseudonym", sa.String(), nullable=False),
        sa.Column("events", sa.Boolean(), nullable=False),
        sa.Column("joined_at", Utc(), nullable=False),
        sa.Column("banned_at", Utc(), nullable=True),
        sa.Column("ban_reason", sa.String(), nullable=True),
        sa.Column("left_at", Utc(), nullable=True),
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
        sa.Column(
            "action",
            sa.Enum(
                "keep",
                "hold",
                "remove",
                "restore",
                "warn",
                "ban",
                "unban",
                name="action",
                native_enum=False,
                create_constraint=True,
            ),
            nullable=False,
        ),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("note", sa.String(), nullable=False),
        sa.Column("decided_by", sa.String(), nullable=False),
        sa.Column("at", Utc(), nullable=False),
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
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("at", Utc(), nullable=False),
        sa.ForeignKeyConstraint(
            ["case_id"], ["moderation_case.id"], name=op.f("fk_moderation_report_case_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_moderation_report")),
        sa.UniqueConstraint(
            "case_id", "reporter_id", name=op.f("uq_moderation_report_case_id_reporter_id")
        ),
    )
    op.create_table(
        "shop_change",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("week", sa.String(), nullable=False),
        sa.Column("store", sa.String(), nullable=False),
        sa.Column("item", sa.String(), nullable=False),
        sa.Column(
            "stage",
            sa.Enum(
                "check", "confirm", name="changestage", native_enum=False, create_constraint=True
            ),
            nullable=False,
        ),
        sa.Column("before_cases", sa.Integer(), nullable=False),
        sa.Column("after_cases", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("at", Utc(), nullable=False),
        sa.ForeignKeyConstraint(["week"], ["shop_cycle.week"], name=op.f("fk_shop_change_week")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_shop_change")),
    )
    with op.batch_alter_table("shop_change", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_shop_change_week"), ["week"], unique=False)

    op.create_table(
        "shop_confirmation",
        sa.Column("week", sa.String(), nullable=False),
        sa.Column("store", sa.String(), nullable=False),
        sa.Column("by", sa.String(), nullable=True),
        sa.Column("at", Utc(), nullable=False),
        sa.ForeignKeyConstraint(
            ["week"], ["shop_cycle.week"], name=op.f("fk_shop_confirmation_week")
        ),
        sa.PrimaryKeyConstraint("week", "store", name=op.f("pk_shop_confirmation")),
    )
    op.create_table(
        "shop_evaluation",
        sa.Column("week", sa.String(), nullable=False),
        sa.Column("store", sa.String(), nullable=False),
        sa.Column("item", sa.String(), nullable=False),
        sa.Column("actual", sa.Double(), nullable=False),
        sa.Column("forecast", sa.Double(), nullable=False),
        sa.Column("proposed_units", sa.Double(), nullable=False),
        sa.Column("ordered_units", sa.Double(), nullable=False),
        sa.Column("available_units", sa.Double(), nullable=False),
        sa.Column("shortage_units", sa.Double(), nullable=False),
        sa.Column("leftover_units", sa.Double(), nullable=False),
        sa.Column("cost_yen", sa.Double(), nullable=False),
        sa.Column("proposed_cost_yen", sa.Double(), nullable=False),
        sa.Column("expected_cost_yen", sa.Double(), nullable=False),
        sa.Column("baseline_cost_yen", sa.Double(), nullable=False),
        sa.Column(
            "zone",
            sa.Enum(
                "within",
                "too_much",
                "too_little",
                name="zone",
                native_enum=False,
                create_constraint=True,
            ),
            nullable=False,
        ),
        sa.Column("at", Utc(), nullable=False),
        sa.ForeignKeyConstraint(
            ["week"], ["shop_cycle.week"], name=op.f("fk_shop_evaluation_week")
        ),
        sa.PrimaryKeyConstraint("week", "store", "item", name=op.f("pk_shop_evaluation")),
    )
    op.create_table(
        "shop_forecast",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("cycle", sa.String(), nullable=False),
        sa.Column("week", sa.String(), nullable=False),
        sa.Column("store", sa.String(), nullable=False),
        sa.Column("item", sa.String(), nullable=False),
        sa.Column("as_of", Utc(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("q01", sa.Double(), nullable=False),
        sa.Column("q05", sa.Double(), nullable=False),
        sa.Column("q10", sa.Double(), nullable=False),
        sa.Column("q25", sa.Double(), nullable=False),
        sa.Column("q50", sa.Double(), nullable=False),
        sa.Column("q75", sa.Double(), nullable=False),
        sa.Column("q90", sa.Double(), nullable=False),
        sa.Column("q95", sa.Double(), nullable=False),
        sa.Column("q99", sa.Double(), nullable=False),
        sa.Column("mean", sa.Double(), nullable=False),
        sa.Column("contributions", sa.JSON(none_as_null=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["cycle"], ["shop_cycle.week"], name=op.f("fk_shop_forecast_cycle")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_shop_forecast")),
        sa.UniqueConstraint(
            "cycle", "week", "store", "item", name=op.f("uq_shop_forecast_cycle_week_store_item")
        ),
    )
    op.create_table(
        "shop_item",
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("supplier_code", sa.String(), nullable=True),
        sa.Column("name_ja", sa.String(), nullable=False),
        sa.Column("name_en", sa.String(), nullable=False),
        sa.Column("external_id", sa.String(), nullable=True),
        sa.Column("case_units", sa.Integer(), nullable=False),
        sa.Column("min_cases", sa.Integer(), nullable=False),
        sa.Column("max_cases", sa.Integer(), nullable=True),
        sa.Column("shelf_life_days", sa.Integer(), nullable=True),
        sa.Column("shortage_cost_yen", sa.Double(), nullable=False),
        sa.Column("leftover_cost_yen", sa.Double(), nullable=False),
        sa.Column(
            "service_class",
            sa.Enum("A", "B", "C", name="serviceclass", native_enum=False, create_constraint=True),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["supplier_code"], ["shop_supplier.code"], name=op.f("fk_shop_item_supplier_code")
        ),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_shop_item")),
    )
    op.create_table(
        "shop_order_line",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("week", sa.String(), nullable=False),
        sa.Column("store", sa.String(), nullable=False),
        sa.Column("item", sa.String(), nullable=False),
        sa.Column("case_units", sa.Integer(), nullable=False),
        sa.Column("proposed_cases", sa.Integer(), nullable=False),
        sa.Column("cases", sa.Integer(), nullable=False),
        sa.Column("recent_units", sa.Double(), nullable=False),
        sa.Column("reasons", sa.JSON(), nullable=False),
        sa.Column("baseline_units", sa.Double(), nullable=False),
        sa.Column("expected_cost_yen", sa.Double(), nullable=False),
        sa.Column("unusual", sa.Double(), nullable=False),
        sa.Column("unusual_reasons", sa.JSON(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["week"], ["shop_cycle.week"], name=op.f("fk_shop_order_line_week")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_shop_order_line")),
        sa.UniqueConstraint(
            "week", "store", "item", name=op.f("uq_shop_order_line_week_store_item")
        ),
    )
    op.create_table(
        "shop_purchase_order",
        sa.Column("number", sa.String(), nullable=False),
        sa.Column("week", sa.String(), nullable=False),
        sa.Column("supplier", sa.String(), nullable=False),
        sa.Column("store", sa.String(), nullable=False),
        sa.Column("issue", sa.Integer(), nullable=False),
        sa.Column(
            "status",
            sa.Enum(
                "issued",
                "cancelled",
                name="purchaseorderstatus",
                native_enum=False,
                create_constraint=True,
            ),
            nullable=False,
        ),
        sa.Column("issued_at", Utc(), nullable=False),
        sa.Column("issued_by", sa.String(), nullable=False),
        sa.Column("replaces", sa.String(), nullable=True),
        sa.Column("cancelled_at", Utc(), nullable=True),
        sa.Column("cancelled_by", sa.String(), nullable=True),
        sa.Column("cancelled_why", sa.String(), nullable=True),
        sa.Column("csv_sha256", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["week"], ["shop_cycle.week"], name=op.f("fk_shop_purchase_order_week")
        ),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_shop_purchase_order")),
        sa.UniqueConstraint(
            "week",
            "supplier",
            "store",
            "issue",
            name=op.f("uq_shop_purchase_order_week_supplier_store_issue"),
        ),
    )
    with op.batch_alter_table("shop_purchase_order", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_shop_purchase_order_week"), ["week"], unique=False)

    op.create_table(
        "shop_quarantined_row",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("import_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("file_name", sa.String(), nullable=False),
        sa.Column("row", sa.Integer(), nullable=False),
        sa.Column("column", sa.String(), nullable=False),
        sa.Column("actual", sa.String(), nullable=False),
        sa.Column("expected", sa.String(), nullable=False),
        sa.Column("expected_values", sa.JSON(), nullable=False),
        sa.Column("values", sa.JSON(), nullable=False),
        sa.Column(
            "status",
            sa.Enum(
                "waiting",
                "fixed",
                "dropped",
                name="quarantinestatus",
                native_enum=False,
                create_constraint=True,
            ),
            nullable=False,
        ),
        sa.Column("decided_by", sa.String(), nullable=True),
        sa.Column("decided_at", Utc(), nullable=True),
        sa.Column("why", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(
            ["import_id"], ["shop_import.id"], name=op.f("fk_shop_quarantined_row_import_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_shop_quarantined_row")),
    )
    with op.batch_alter_table("shop_quarantined_row", schema=None) as batch_op:
        batch_op.create_index("ix_shop_quarantined_row_status", ["status", "id"], unique=False)

    op.create_table(
        "shop_store",
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("region_code", sa.String(), nullable=True),
        sa.Column("name_ja", sa.String(), nullable=False),
        sa.Column("name_en", sa.String(), nullable=False),
        sa.Column("external_id", sa.String(), nullable=True),
        sa.Column("shelf_units", sa.Integer(), nullable=True),
        sa.Column("truck_cases", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(
            ["region_code"], ["shop_region.code"], name=op.f("fk_shop_store_region_code")
        ),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_shop_store")),
    )
    op.create_table(
        "warehouse_file",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("table", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("recorded_at", Utc(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["table"], ["warehouse_table.name"], name=op.f("fk_warehouse_file_table")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_warehouse_file")),
        sa.UniqueConstraint("key", name=op.f("uq_warehouse_file_key")),
    )
    with op.batch_alter_table("warehouse_file", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_warehouse_file_table"), ["table"], unique=False)

    op.create_table(
        "follow",
        sa.Column("follower_id", sa.Integer(), nullable=False),
        sa.Column("followed_id", sa.Integer(), nullable=False),
        sa.Column("at", Utc(), nullable=False),
        sa.ForeignKeyConstraint(["followed_id"], ["member.id"], name=op.f("fk_follow_followed_id")),
        sa.ForeignKeyConstraint(["follower_id"], ["member.id"], name=op.f("fk_follow_follower_id")),
        sa.PrimaryKeyConstraint("follower_id", "followed_id", name=op.f("pk_follow")),
    )
    with op.batch_alter_table("follow", schema=None) as batch_op:
        batch_op.create_index(
            "ix_follow_followed", ["followed_id", "at", "follower_id"], unique=False
        )

    op.create_table(
        "member_block",
        sa.Column("member_id", sa.Integer(), nullable=False),
        sa.Column("target_id", sa.Integer(), nullable=False),
        sa.Column(
            "kind",
            sa.Enum("mute", "block", name="blockkind", native_enum=False, create_constraint=True),
            nullable=False,
        ),
        sa.Column("at", Utc(), nullable=False),
        sa.ForeignKeyConstraint(
            ["member_id"], ["member.id"], name=op.f("fk_member_block_member_id")
        ),
        sa.ForeignKeyConstraint(
            ["target_id"], ["member.id"], name=op.f("fk_member_block_target_id")
        ),
        sa.PrimaryKeyConstraint("member_id", "target_id", name=op.f("pk_member_block")),
    )
    with op.batch_alter_table("member_block", schema=None) as batch_op:
        batch_op.create_index("ix_member_block_target", ["target_id", "kind"], unique=False)

    op.create_table(
        "moderation_appeal",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("decision_id", sa.Integer(), nullable=False),
        sa.Column("member_id", sa.Integer(), nullable=True),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("at", Utc(), nullable=False),
        sa.Column(
            "state",
            sa.Enum(
                "open",
                "upheld",
                "overturned",
                name="appealstate",
                native_enum=False,
                create_constraint=True,
            ),
            nullable=False,
        ),
        sa.Column("decided_by", sa.String(), nullable=True),
        sa.Column("decided_at", Utc(), nullable=True),
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
        sa.Column(
            "state",
            sa.Enum(
                "checking",
                "published",
                "held",
                "removed",
                "deleted",
                name="poststate",
                native_enum=False,
                create_constraint=True,
            ),
            nullable=False,
        ),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("note", sa.String(), nullable=True),
        sa.Column(
            "previous_state",
            sa.Enum(
                "checking",
                "published",
                "held",
                "removed",
                "deleted",
                name="previouspoststate",
                native_enum=False,
                create_constraint=True,
            ),
            nullable=True,
        ),
        sa.Column("posted_at", Utc(), nullable=False),
        sa.Column("published_at", Utc(), nullable=True),
        sa.Column("edited_at", Utc(), nullable=True),
        sa.Column("deleted_at", Utc(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("likes", sa.Integer(), nullable=False),
        sa.Column("comments", sa.Integer(), nullable=False),
        sa.Column("hot_score", sa.Double(), nullable=False),
        sa.Column("source", sa.String(), nullable=True),
        sa.Column("original", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(["member_id"], ["member.id"], name=op.f("fk_post_member_id")),
        sa.ForeignKeyConstraint(["original"], ["photo.digest"], name=op.f("fk_post_original")),
        sa.ForeignKeyConstraint(["photo"], ["photo.digest"], name=op.f("fk_post_photo")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_post")),
        sa.UniqueConstraint("member_id", "key", name=op.f("uq_post_member_id_key")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("post", schema=None) as batch_op:
        batch_op.create_index(
            "ix_post_category", ["category", "state", "published_at", "id"], unique=False
        )
        batch_op.create_index("ix_post_hot_score", ["state", "hot_score", "id"], unique=False)
        batch_op.create_index(
            "ix_post_likes", ["state", "likes", "published_at", "id"], unique=False
        )
        batch_op.create_index(
            "ix_post_member", ["member_id", "state", "published_at", "id"], unique=False
        )
        batch_op.create_index("ix_post_newest", ["state", "published_at", "id"], unique=False)
        batch_op.create_index(
            "ix_post_original",
            ["original"],
            unique=False,
            sqlite_where=sa.text("original is not null"),
            postgresql_where=sa.text("original is not null"),
        )
        batch_op.create_index("ix_post_photo", ["photo"], unique=False)

    op.create_table(
        "shop_purchase_order_line",
        sa.Column("number", sa.String(), nullable=False),
        sa.Column("item", sa.String(), nullable=False),
        sa.Column("cases", sa.Integer(), nullable=False),
        sa.Column("case_units", sa.Integer(), nullable=False),
        sa.Column("units", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["number"],
            ["shop_purchase_order.number"],
            name=op.f("fk_shop_purchase_order_line_number"),
        ),
        sa.PrimaryKeyConstraint("number", "item", name=op.f("pk_shop_purchase_order_line")),
    )
    op.create_table(
        "notification",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("member_id", sa.Integer(), nullable=False),
        sa.Column(
            "kind",
            sa.Enum(
                "like",
                "follow",
                "comment",
                "published",
                "held",
                "removed",
                "restored",
                "warned",
                "banned",
                "unbanned",
                "appeal",
                name="notificationkind",
                native_enum=False,
                create_constraint=True,
            ),
            nullable=False,
        ),
        sa.Column("dedup_key", sa.String(), nullable=False),
        sa.Column("actor_id", sa.Integer(), nullable=True),
        sa.Column("post_id", sa.Integer(), nullable=True),
        sa.Column("values", sa.JSON(), nullable=False),
        sa.Column("at", Utc(), nullable=False),
        sa.Column("seen_at", Utc(), nullable=True),
        sa.ForeignKeyConstraint(["actor_id"], ["member.id"], name=op.f("fk_notification_actor_id")),
        sa.ForeignKeyConstraint(
            ["member_id"], ["member.id"], name=op.f("fk_notification_member_id")
        ),
        sa.ForeignKeyConstraint(["post_id"], ["post.id"], name=op.f("fk_notification_post_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notification")),
        sa.UniqueConstraint(
            "member_id", "kind", "dedup_key", name=op.f("uq_notification_member_id_kind_dedup_key")
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
        sa.Column("text", sa.String(), nullable=False),
        sa.Column(
            "state",
            sa.Enum(
                "shown",
                "removed",
                "deleted",
                name="commentstate",
                native_enum=False,
                create_constraint=True,
            ),
            nullable=False,
        ),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("note", sa.String(), nullable=True),
        sa.Column("at", Utc(), nullable=False),
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
        sa.Column("content", sa.JSON(), nullable=False),
        sa.Column("at", Utc(), nullable=False),
        sa.ForeignKeyConstraint(["post_id"], ["post.id"], name=op.f("fk_post_edit_post_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_post_edit")),
    )
    with op.batch_alter_table("post_edit", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_post_edit_post_id"), ["post_id"], unique=False)

    op.create_table(
        "post_like",
        sa.Column("post_id", sa.Integer(), nullable=False),
        sa.Column("member_id", sa.Integer(), nullable=False),
        sa.Column("at", Utc(), nullable=False),
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
            "tokens", sa.Text().with_variant(postgresql.TSVECTOR(), "postgresql"), nullable=False
        ),
        sa.Column("suggestion_keys", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["post_id"], ["post.id"], name=op.f("fk_post_text_post_id")),
        sa.PrimaryKeyConstraint("post_id", name=op.f("pk_post_text")),
    )
    op.create_table(
        "post_token_offsets",
        sa.Column("post_id", sa.Integer(), nullable=False),
        sa.Column("title", sa.JSON(), nullable=False),
        sa.Column("description", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["post_id"], ["post.id"], name=op.f("fk_post_token_offsets_post_id")
        ),
        sa.PrimaryKeyConstraint("post_id", name=op.f("pk_post_token_offsets")),
    )
    for statement in FTS5 if op.get_bind().dialect.name == "sqlite" else TSVECTOR:
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for trigger in ("put", "take", "change"):
            op.get_bind().exec_driver_sql(f"drop trigger if exists post_text_{trigger}")
        op.get_bind().exec_driver_sql("drop table if exists post_fts")
    op.drop_table("post_token_offsets")
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
    op.drop_table("shop_purchase_order_line")
    with op.batch_alter_table("post", schema=None) as batch_op:
        batch_op.drop_index("ix_post_photo")
        batch_op.drop_index(
            "ix_post_original",
            sqlite_where=sa.text("original is not null"),
            postgresql_where=sa.text("original is not null"),
        )
        batch_op.drop_index("ix_post_newest")
        batch_op.drop_index("ix_post_member")
        batch_op.drop_index("ix_post_likes")
        batch_op.drop_index("ix_post_hot_score")
        batch_op.drop_index("ix_post_category")

    op.drop_table("post")
    op.drop_table("moderation_appeal")
    with op.batch_alter_table("member_block", schema=None) as batch_op:
        batch_op.drop_index("ix_member_block_target")

    op.drop_table("member_block")
    with op.batch_alter_table("follow", schema=None) as batch_op:
        batch_op.drop_index("ix_follow_followed")

    op.drop_table("follow")
    with op.batch_alter_table("warehouse_file", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_warehouse_file_table"))

    op.drop_table("warehouse_file")
    op.drop_table("shop_store")
    with op.batch_alter_table("shop_quarantined_row", schema=None) as batch_op:
        batch_op.drop_index("ix_shop_quarantined_row_status")

    op.drop_table("shop_quarantined_row")
    with op.batch_alter_table("shop_purchase_order", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_shop_purchase_order_week"))

    op.drop_table("shop_purchase_order")
    op.drop_table("shop_order_line")
    op.drop_table("shop_item")
    op.drop_table("shop_forecast")
    op.drop_table("shop_evaluation")
    op.drop_table("shop_confirmation")
    with op.batch_alter_table("shop_change", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_shop_change_week"))

    op.drop_table("shop_change")
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
    with op.batch_alter_table("image_features", schema=None) as batch_op:
        batch_op.drop_index("ix_image_features_digest")

    op.drop_table("image_features")
    with op.batch_alter_table("account_token", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_account_token_name"))

    op.drop_table("account_token")
    with op.batch_alter_table("account_session", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_account_session_name"))
        batch_op.drop_index(batch_op.f("ix_account_session_expires_at"))

    op.drop_table("account_session")
    op.drop_table("account_grant")
    op.drop_table("worker_heartbeat")
    op.drop_table("warehouse_table")
    op.drop_table("shop_supplier")
    op.drop_table("shop_rules")
    op.drop_table("shop_region")
    with op.batch_alter_table("shop_import", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_shop_import_sha256"))

    op.drop_table("shop_import")
    op.drop_table("shop_cycle")
    with op.batch_alter_table("shop_alert", schema=None) as batch_op:
        batch_op.drop_index("ix_shop_alert_open")

    op.drop_table("shop_alert")
    op.drop_table("search_word")
    with op.batch_alter_table("rate_limit_counter", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_rate_limit_counter_expires_at"))

    op.drop_table("rate_limit_counter")
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
    op.drop_table("model_version_stats")
    op.drop_table("model_rollout")
    with op.batch_alter_table("model_release", schema=None) as batch_op:
        batch_op.drop_index("ix_model_release_model")

    op.drop_table("model_release")
    with op.batch_alter_table("model_prediction", schema=None) as batch_op:
        batch_op.drop_index("ix_model_prediction_model")
        batch_op.drop_index("ix_model_prediction_at")

    op.drop_table("model_prediction")
    op.drop_table("login_attempts")
    with op.batch_alter_table("gate_verdict", schema=None) as batch_op:
        batch_op.drop_index("ix_gate_verdict_model")

    op.drop_table("gate_verdict")
    with op.batch_alter_table("event", schema=None) as batch_op:
        batch_op.drop_index("ix_event_kind")

    op.drop_table("event")
    op.drop_table("deleted_account_name")
    op.drop_table("blocked_image_hash")
    op.drop_table("banned_word")
    op.drop_table("audit_log_head")
    with op.batch_alter_table("audit_log_entry", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_audit_log_entry_target"))

    op.drop_table("audit_log_entry")
    op.drop_table("account")
