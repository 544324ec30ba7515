"""The scored customer base, outcomes and monitoring, files scored for a caller."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    _scoring_runs()
    _customers()
    _portfolio()
    _outcomes()
    _jobs()


def _scoring_runs() -> None:
    op.create_table(
        "scoring_runs",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("key", sa.String(250), nullable=False, unique=True),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("started", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended", sa.DateTime(timezone=True)),
        sa.Column("model", sa.String(100), nullable=False),
        sa.Column("version", sa.String(20), nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("data_hash", sa.String(64), nullable=False),
        sa.Column("customers", sa.Integer, nullable=False),
        sa.Column("left", sa.Integer, nullable=False),
        sa.Column("model_run", sa.String(64), nullable=False),
        sa.Column("facts", sa.Text, nullable=False),
    )


def _customers() -> None:
    op.create_table(
        "customer_scores",
        sa.Column("run_id", sa.Integer, sa.ForeignKey("scoring_runs.id", ondelete="CASCADE"), primary_key=True),
        sa.Column(
            "customer_id",
            sa.String(250).with_variant(sa.String(250, collation="C"), "postgresql"),
            primary_key=True,
        ),
        sa.Column("probability", sa.Float(53), nullable=False),
        sa.Column("prediction", sa.Integer, nullable=False),
        sa.Column("risk", sa.String(10), nullable=False),
        sa.Column("persona", sa.String(200)),
        sa.Column("monthly_value", sa.Float(53)),
        sa.Column("revenue_at_risk", sa.Float(53), nullable=False),
        sa.Column("expected_profit", sa.Float(53), nullable=False),
        sa.Column("held_out", sa.Boolean, nullable=False),
        sa.Column("reasons", sa.Text, nullable=False),
        sa.Column("features", sa.Text, nullable=False),
    )
    for name, columns in (
        ("probability", ["run_id", "probability", "customer_id", "persona", "revenue_at_risk"]),
        ("risk", ["run_id", "risk", "revenue_at_risk", "customer_id", "persona", "probability"]),
        ("revenue", ["run_id", "revenue_at_risk", "customer_id", "persona"]),
        ("profit", ["run_id", "expected_profit", "customer_id", "persona"]),
    ):
        op.create_index(f"ix_customer_scores_{name}", "customer_scores", columns)


def _portfolio() -> None:
    op.create_table(
        "portfolio",
        sa.Column("run_id", sa.Integer, sa.ForeignKey("scoring_runs.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("risk", sa.String(10), primary_key=True),
        sa.Column("persona", sa.String(200), primary_key=True),
        sa.Column("customers", sa.Integer, nullable=False),
        sa.Column("monthly_value", sa.Float(53), nullable=False),
        sa.Column("revenue_at_risk", sa.Float(53), nullable=False),
        sa.Column("expected_profit", sa.Float(53), nullable=False),
        sa.Column("expected_churners", sa.Float(53), nullable=False),
    )


def _outcomes() -> None:
    op.create_table(
        "outcomes",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        sa.Column("customer_id", sa.String(250), nullable=False),
        sa.Column("churned", sa.Boolean, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("received", sa.DateTime(timezone=True), nullable=False),
        sa.Column("by", sa.String(250), nullable=False),
        sa.Column("scored", sa.DateTime(timezone=True)),
        sa.Column("model", sa.String(100)),
        sa.Column("version", sa.String(20)),
        sa.Column("probability", sa.Float(53)),
        sa.Column("features", sa.Text),
    )
    op.create_index("ix_outcomes_customer_id", "outcomes", ["customer_id", "at"], unique=True)
    op.create_table(
        "monitoring_runs",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("key", sa.String(250), nullable=False, unique=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("version", sa.String(20), nullable=False),
        sa.Column("current_hash", sa.String(64), nullable=False),
        sa.Column("retrain", sa.Boolean, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("report", sa.Text, nullable=False),
        sa.Column("figures", sa.Text, nullable=False),
    )


def _jobs() -> None:
    op.create_table(
        "score_jobs",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("filename", sa.String(250), nullable=False),
        sa.Column("by", sa.String(250), nullable=False),
        sa.Column("token", sa.String(64), unique=True),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started", sa.DateTime(timezone=True)),
        sa.Column("beat", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended", sa.DateTime(timezone=True)),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("rows", sa.Integer, nullable=False),
        sa.Column("done", sa.Integer, nullable=False),
        sa.Column("model", sa.String(100)),
        sa.Column("version", sa.String(20)),
        sa.Column("problem", sa.Text),
    )
