"""eyes and serving

Revision 0004, after 0003.
"""

import sqlalchemy as sa
from alembic import op

import tanuki.platform.database.types

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "model_prediction",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("served_as", sa.String(), nullable=False),
        sa.Column("input_hash", sa.String(), nullable=False),
        sa.Column("inputs", sa.LargeBinary(), nullable=False),
        sa.Column("outputs", sa.LargeBinary(), nullable=False),
        sa.Column("milliseconds", sa.Double(), nullable=False),
        sa.Column("at", tanuki.platform.database.types.Utc(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model_prediction")),
    )
    with op.batch_alter_table("model_prediction", schema=None) as batch_op:
        batch_op.create_index("ix_model_prediction_at", ["at"], unique=False)
        batch_op.create_index("ix_model_prediction_model", ["model", "id"], unique=False)

    op.create_table(
        "model_serving",
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("champion", sa.String(), nullable=True),
        sa.Column("challenger", sa.String(), nullable=True),
        sa.Column("files", sa.JSON(), nullable=False),
        sa.Column("mode", sa.String(), nullable=False),
        sa.Column("share", sa.Double(), nullable=False),
        sa.Column("bounds", sa.JSON(), nullable=False),
        sa.Column("serial", sa.Integer(), nullable=False),
        sa.Column("at", tanuki.platform.database.types.Utc(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("model", name=op.f("pk_model_serving")),
    )
    op.create_table(
        "model_watched",
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("serial", sa.Integer(), nullable=False),
        sa.Column("process", sa.String(), nullable=False),
        sa.Column("counts", sa.JSON(), nullable=False),
        sa.Column("at", tanuki.platform.database.types.Utc(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint(
            "model", "version", "serial", "process", name=op.f("pk_model_watched")
        ),
    )
    op.create_table(
        "photo_look",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("eyes", sa.String(), nullable=False),
        sa.Column("embedding", sa.LargeBinary(), nullable=False),
        sa.Column("classes", sa.JSON(), nullable=False),
        sa.Column("animal", sa.Double(), nullable=False),
        sa.Column("light", sa.Double(), nullable=False),
        sa.Column("sharp", sa.Double(), nullable=False),
        sa.Column("phash", sa.String(), nullable=False),
        sa.Column("at", tanuki.platform.database.types.Utc(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["digest"], ["photo.digest"], name=op.f("fk_photo_look_digest"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_photo_look")),
        sa.UniqueConstraint("eyes", "digest", name=op.f("uq_photo_look_eyes_digest")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("photo_look", schema=None) as batch_op:
        batch_op.create_index("ix_photo_look_digest", ["digest"], unique=False)

    op.execute(
        "alter table post add column original varchar constraint fk_post_original references photo (digest)"
    )
    op.create_index(
        "ix_post_original",
        "post",
        ["original"],
        unique=False,
        sqlite_where=sa.text("original is not null"),
        postgresql_where=sa.text("original is not null"),
    )


def downgrade() -> None:
    op.drop_index("ix_post_original", "post")
    op.execute("alter table post drop column original")

    with op.batch_alter_table("photo_look", schema=None) as batch_op:
        batch_op.drop_index("ix_photo_look_digest")

    op.drop_table("photo_look")
    op.drop_table("model_watched")
    op.drop_table("model_serving")
    with op.batch_alter_table("model_prediction", schema=None) as batch_op:
        batch_op.drop_index("ix_model_prediction_model")
        batch_op.drop_index("ix_model_prediction_at")

    op.drop_table("model_prediction")
