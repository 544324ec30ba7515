"""What became of recommendations; what is recommended to a scored customer, and who gets none."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    # with constant defaults neither database rewrites a million scores
    op.add_column("customer_scores", sa.Column("recommendations", sa.Text, nullable=False, server_default="[]"))
    op.add_column("customer_scores", sa.Column("control", sa.Boolean, nullable=False, server_default=sa.false()))
    op.create_table(
        "interactions",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        sa.Column("customer_id", sa.String(250), nullable=False),
        sa.Column("item", sa.String(250), nullable=False),
        sa.Column("event", sa.String(10), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("received", sa.DateTime(timezone=True), nullable=False),
        sa.Column("by", sa.String(250), nullable=False),
        sa.Column("key", sa.String(64)),
        sa.Column("digest", sa.String(64)),
        sa.Column("version", sa.String(20)),
    )
    op.create_index("ix_interactions_customer_id", "interactions", ["customer_id", "at"])
    op.create_index("ix_interactions_item", "interactions", ["item", "event", "customer_id"])
    op.create_index("ix_interactions_key", "interactions", ["key"], unique=True)
