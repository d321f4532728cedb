"""The projection's tables. Every row belongs to a block, so that forgetting blocks is deleting rows.

`events` alone is of record. What is below it says the same again for whoever looks something up: `endings`, `disputes` and
`running_totals` are written by coordinator.job_index in the transaction that records the events they follow from.
"""

from __future__ import annotations

import sqlalchemy as sql

_Integer = sql.BigInteger().with_variant(sql.Integer(), "sqlite")  # of 64 bits in both
metadata = sql.MetaData()
identity = sql.Table(
    "identity", metadata, sql.Column("name", sql.Text, primary_key=True), sql.Column("value", sql.Text, nullable=False)
)
blocks = sql.Table(
    "blocks",
    metadata,
    sql.Column("number", _Integer, primary_key=True, autoincrement=False),
    sql.Column("hash", sql.LargeBinary, nullable=False),
    sql.Column("parent", sql.LargeBinary, nullable=False),
    sql.Column("time", _Integer, nullable=False),
)
events = sql.Table(
    "events",
    metadata,
    sql.Column("block", sql.ForeignKey("blocks.number"), primary_key=True),
    sql.Column("log_index", _Integer, primary_key=True),
    sql.Column("name", sql.Text, nullable=False),
    sql.Column("job_id", sql.LargeBinary, index=True),
    sql.Column("transaction", sql.LargeBinary, nullable=False, index=True),
    sql.Column("args", sql.Text, nullable=False),
)
actors = sql.Table(
    "actors",
    metadata,
    sql.Column("block", _Integer, primary_key=True),
    sql.Column("log_index", _Integer, primary_key=True),
    sql.Column("actor", sql.Text, primary_key=True, index=True),
    sql.ForeignKeyConstraint(["block", "log_index"], ["events.block", "events.log_index"]),
)
jobs = sql.Table(
    "jobs",
    metadata,
    sql.Column("job_id", sql.LargeBinary, primary_key=True),
    sql.Column("created_block", _Integer, nullable=False),
    sql.Column("created_at", _Integer, nullable=False, index=True),
    sql.Column("requester", sql.LargeBinary, nullable=False),
    sql.Column("model_id", sql.LargeBinary, nullable=False),
    sql.Column("closed_block", _Integer, index=True),  # from which on nothing is left to happen
    sql.Index("jobs_by_age", "created_block", "job_id"),
    sql.Index("jobs_by_requester", "requester", "created_block"),
    sql.Index("jobs_by_model", "model_id", "created_block"),
)
endings = sql.Table(
    "endings",
    metadata,
    sql.Column("job_id", sql.LargeBinary, primary_key=True),
    sql.Column("block", _Integer, nullable=False),
    sql.Column("time", _Integer, nullable=False, index=True),
    sql.Column("created_block", _Integer, nullable=False),
    sql.Column("seconds", _Integer, nullable=False),  # since the creation
    sql.Column("outcome", _Integer, nullable=False),
    sql.Column("granted_seats", _Integer, nullable=False),
    sql.Index("endings_by_outcome", "outcome", "created_block", "job_id"),
)
disputes = sql.Table(  # each job's first: its second root, a demand, a refutation, an accusation, an execution
    "disputes",
    metadata,
    sql.Column("job_id", sql.LargeBinary, primary_key=True),
    sql.Column("block", _Integer, nullable=False),
    sql.Column("time", _Integer, nullable=False),
    sql.Index("disputes_by_age", "block", "job_id"),
)
running_totals = sql.Table(  # one row for each block in which a subject's figures changed: what they came to
    "running_totals",
    metadata,
    sql.Column("kind", sql.Text, primary_key=True),
    sql.Column("subject", sql.LargeBinary, primary_key=True),
    sql.Column("block", _Integer, primary_key=True),
    sql.Column("time", _Integer, nullable=False),
    sql.Column("figures", sql.Text, nullable=False),  # JSON: wei do not fit SQLite's integers
    sql.Index("running_totals_by_time", "kind", "subject", "time"),
)
