"""The tables of the platform's own database. What each holds is read and written by the module that it names."""

from datetime import UTC, datetime

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    false,
)

METADATA = MetaData()
# SQLite counts by itself only in a plain INTEGER
_COUNTED = BigInteger().with_variant(Integer, "sqlite")


class Moment(TypeDecorator[datetime]):
    """A point in time, aware and in UTC. SQLite knows no zones: there UTC is understood."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone is no point in time")
        told = value.astimezone(UTC)
        return told.replace(tzinfo=None) if dialect.name == "sqlite" else told

    def process_result_value(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


api_keys = Table(
    "api_keys",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("name", String(60), nullable=False),
    Column("scope", String(10), nullable=False),
    Column("hash", String(64), nullable=False, unique=True),
    Column("created", Moment, nullable=False),
    Column("created_by", String(250), nullable=False),
    Column("revoked", Moment),
    Column("last_used", Moment),
)
_active = api_keys.c.revoked.is_(None)
Index("ix_api_keys_active", api_keys.c.name, unique=True, sqlite_where=_active, postgresql_where=_active)
"""Of one name there is one active key, whatever two processes do at once."""

audit = Table(
    "audit",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("at", Moment, nullable=False),
    Column("action", String(40), nullable=False),
    Column("by", String(250), nullable=False),
    Column("source", String(100), nullable=False),
    Column("subject", String(250), nullable=False),
    Column("outcome", String(20), nullable=False),
    Column("detail", Text, nullable=False),
)

predictions = Table(
    "predictions",
    METADATA,
    Column("id", _COUNTED, primary_key=True),
    Column("at", Moment, nullable=False, index=True),
    Column("model", String(100), nullable=False),
    Column("version", String(20), nullable=False),
    Column("input_hash", String(64), nullable=False),
    Column("probability", Float(53), nullable=False),
)

# --- the scored customer base (churn.customer_scores, churn.scoring_runs)
_BYTES = String(250).with_variant(String(250, collation="C"), "postgresql")
"""A text that is sorted by its characters' numbers, as SQLite does, and not by a language's rules."""

scoring_runs = Table(
    "scoring_runs",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("key", String(250), nullable=False, unique=True),
    Column("state", String(10), nullable=False),
    Column("started", Moment, nullable=False),
    Column("ended", Moment),
    Column("model", String(100), nullable=False),
    Column("version", String(20), nullable=False),
    Column("source", Text, nullable=False),
    Column("data_hash", String(64), nullable=False),
    Column("customers", Integer, nullable=False),
    Column("left", Integer, nullable=False),
    Column("model_run", String(64), nullable=False),
    Column("facts", Text, nullable=False),
)
"""``state`` is "running" until all of the run is there, then "whole", and "past" once its scores are
removed; only whole runs are read. ``facts`` is JSON: what the version's contract says of the rows."""

customer_scores = Table(
    "customer_scores",
    METADATA,
    Column("run_id", Integer, ForeignKey("scoring_runs.id", ondelete="CASCADE"), primary_key=True),
    Column("customer_id", _BYTES, primary_key=True),
    Column("probability", Float(53), nullable=False),
    Column("prediction", Integer, nullable=False),
    Column("risk", String(10), nullable=False),
    Column("persona", String(200)),
    Column("monthly_value", Float(53)),
    Column("revenue_at_risk", Float(53), nullable=False),
    Column("expected_profit", Float(53), nullable=False),
    Column("held_out", Boolean, nullable=False),
    Column("reasons", Text, nullable=False),
    Column("features", Text, nullable=False),
    Column("recommendations", Text, nullable=False, server_default="[]"),
    Column("control", Boolean, nullable=False, server_default=false()),
    Index("ix_customer_scores_probability", "run_id", "probability", "customer_id", "persona", "revenue_at_risk"),
    Index("ix_customer_scores_risk", "run_id", "risk", "revenue_at_risk", "customer_id", "persona", "probability"),
    Index("ix_customer_scores_revenue", "run_id", "revenue_at_risk", "customer_id", "persona"),
    Index("ix_customer_scores_profit", "run_id", "expected_profit", "customer_id", "persona"),
)
"""The indexes hold what a list is sorted and filtered by: of a million rows only those that are shown are
looked up. Where the monthly value is unknown, the revenue at risk is 0, which both databases sort alike."""

portfolio = Table(
    "portfolio",
    METADATA,
    Column("run_id", Integer, ForeignKey("scoring_runs.id", ondelete="CASCADE"), primary_key=True),
    Column("risk", String(10), primary_key=True),
    Column("persona", String(200), primary_key=True),
    Column("customers", Integer, nullable=False),
    Column("monthly_value", Float(53), nullable=False),
    Column("revenue_at_risk", Float(53), nullable=False),
    Column("expected_profit", Float(53), nullable=False),
    Column("expected_churners", Float(53), nullable=False),
)
"""What a run's scores add up to; stays when the run's scores are removed."""

# --- what became of customers, and what the monitoring saw (churn.outcomes, churn.monitoring_log)
outcomes = Table(
    "outcomes",
    METADATA,
    Column("id", _COUNTED, primary_key=True),
    Column("customer_id", String(250), nullable=False),
    Column("churned", Boolean, nullable=False),
    Column("at", Moment, nullable=False),
    Column("received", Moment, nullable=False),
    Column("by", String(250), nullable=False),
    Column("scored", Moment),
    Column("model", String(100)),
    Column("version", String(20)),
    Column("probability", Float(53)),
    Column("features", Text),
    Index("ix_outcomes_customer_id", "customer_id", "at", unique=True),
)
"""From ``scored`` on: the customer as he was scored last before that; all null where he was not."""

monitoring_runs = Table(
    "monitoring_runs",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("key", String(250), nullable=False, unique=True),
    Column("at", Moment, nullable=False),
    Column("version", String(20), nullable=False),
    Column("current_hash", String(64), nullable=False),
    Column("retrain", Boolean, nullable=False),
    Column("reason", Text, nullable=False),
    Column("report", Text, nullable=False),
    Column("figures", Text, nullable=False),
)

# --- what became of recommendations (churn.interactions)
interactions = Table(
    "interactions",
    METADATA,
    Column("id", _COUNTED, primary_key=True),
    Column("customer_id", String(250), nullable=False),
    Column("item", String(250), nullable=False),
    Column("event", String(10), nullable=False),
    Column("at", Moment, nullable=False),
    Column("received", Moment, nullable=False),
    Column("by", String(250), nullable=False),
    Column("key", String(64)),
    Column("digest", String(64)),
    Column("version", String(20)),
    Index("ix_interactions_customer_id", "customer_id", "at"),
    Index("ix_interactions_item", "item", "event", "customer_id"),
    Index("ix_interactions_key", "key", unique=True),
)
"""``key`` is a hash of what it is told apart by, so that it is kept once; null where nothing does. ``digest``
is the hash of what was said under it."""

# --- files that are scored for a caller of the API (churn.score_jobs)
score_jobs = Table(
    "score_jobs",
    METADATA,
    Column("id", String(40), primary_key=True),
    Column("state", String(10), nullable=False),
    Column("filename", String(250), nullable=False),
    Column("by", String(250), nullable=False),
    Column("token", String(64), unique=True),
    Column("created", Moment, nullable=False),
    Column("started", Moment),
    Column("beat", Moment, nullable=False),
    Column("ended", Moment),
    Column("tries", Integer, nullable=False),
    Column("rows", Integer, nullable=False),
    Column("done", Integer, nullable=False),
    Column("model", String(100)),
    Column("version", String(20)),
    Column("problem", Text),
)
"""``state`` is queued, running, done or failed; ``problem`` is the JSON of what is told of a failure."""
