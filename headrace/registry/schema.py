"""The tables of the registry at its newest schema version; `migrations` makes them."""

import sqlalchemy as sa

METADATA = sa.MetaData()

COMMITS = sa.Table(
    "commits",
    METADATA,
    sa.Column("table_name", sa.Text, primary_key=True),
    sa.Column("snapshot_id", sa.BigInteger, primary_key=True),
    sa.Column("parent_id", sa.BigInteger),
    sa.Column("sequence_number", sa.BigInteger, nullable=False),
    sa.Column("committed_at_ms", sa.BigInteger, nullable=False),
    sa.Column("operation", sa.Text, nullable=False),
    sa.Column("partitions", sa.Text, nullable=False),
    sa.Column("inputs", sa.Text, nullable=False),
    sa.Column("code", sa.Text, nullable=False),
    sa.Column("run_id", sa.Text, nullable=False),
    sa.Column("files_added", sa.BigInteger, nullable=False),
    sa.Column("files_removed", sa.BigInteger, nullable=False),
    sa.Column("rows_added", sa.BigInteger, nullable=False),
    sa.Column("rows_removed", sa.BigInteger, nullable=False),
    sa.Column("moves", sa.Text, nullable=False, server_default=""),
    sa.Index("commits_by_time", "table_name", "sequence_number"),
)

MEASURES = sa.Table(
    "measures",
    METADATA,
    sa.Column("table_name", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.BigInteger, nullable=False),
    sa.Column("measured_at_ms", sa.BigInteger, nullable=False),
)

BUILDS = sa.Table(
    "builds",
    METADATA,
    sa.Column("table_name", sa.Text, primary_key=True),
    sa.Column("partition", sa.Text, primary_key=True),
    sa.Column("snapshot_id", sa.BigInteger, nullable=False),
    sa.Column("inputs", sa.Text, nullable=False),
    sa.Column("code", sa.Text, nullable=False),
    sa.Column("watermarks", sa.Text, nullable=False),
)

DATASET_VERSIONS = sa.Table(
    "dataset_versions",
    METADATA,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("version", sa.BigInteger, primary_key=True),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("lockfile", sa.Text, nullable=False),
)

# the warehouse of the one lake that a database on a server belongs to
OWNER = sa.Table(
    "owner",
    METADATA,
    sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("warehouse", sa.Text, nullable=False),
)

# commits outside the history of `main`: on other branches, or rolled back
OFF_MAIN = sa.Table(
    "off_main",
    METADATA,
    sa.Column("table_name", sa.Text, primary_key=True),
    sa.Column("snapshot_id", sa.BigInteger, primary_key=True),
)

ORIGINS = sa.Table(
    "commit_origins",
    METADATA,
    sa.Column("table_name", sa.Text, primary_key=True),
    sa.Column("origin", sa.Text, primary_key=True),
    sa.Column("snapshot_id", sa.BigInteger, primary_key=True),
    sa.Index("commit_origins_by_commit", "table_name", "snapshot_id"),
)

LEASES = sa.Table(
    "leases",
    METADATA,
    sa.Column("lease_id", sa.Text, primary_key=True),
    sa.Column("table_name", sa.Text, nullable=False),
    sa.Column("snapshot_id", sa.BigInteger, nullable=False),
    sa.Column("holder", sa.Text, nullable=False),
    sa.Column("ends_at_ms", sa.BigInteger, nullable=False),
)

WRITES = sa.Table(
    "writes",
    METADATA,
    sa.Column("write_id", sa.Text, primary_key=True),
    sa.Column("table_name", sa.Text, nullable=False),
    sa.Column("location", sa.Text, nullable=False),
    sa.Column("host", sa.Text, nullable=False),
    sa.Column("boot_id", sa.Text, nullable=False),
    sa.Column("pid", sa.BigInteger, nullable=False),
    sa.Column("process_start_ticks", sa.BigInteger, nullable=False),
    sa.Column("started_at_ms", sa.BigInteger, nullable=False),
    sa.Column("renewed_at_ms", sa.BigInteger, nullable=False, server_default="0"),
)

# groups of sources that a stream has taken; a table owns the line of seals that starts at its newest
SOURCE_SEALS = sa.Table(
    "source_seals",
    METADATA,
    sa.Column("seal", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("after_seal", sa.BigInteger),
    sa.Column("table_name", sa.Text, nullable=False),
    sa.Column("stream", sa.Text, nullable=False),
    sa.Column("sealed_at_ms", sa.BigInteger, nullable=False),
)

SOURCE_FILES = sa.Table(
    "source_files",
    METADATA,
    sa.Column("seal", sa.BigInteger, primary_key=True),
    sa.Column("source", sa.Text, primary_key=True),
    sa.Column("records", sa.BigInteger, nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("fingerprint", sa.Text, nullable=False),
    sa.Column("changed_ns", sa.BigInteger, nullable=False),
    sa.Column("inode", sa.BigInteger, nullable=False),
    sa.Index("source_files_by_name", "source"),
    sa.Index("source_files_by_content", "fingerprint"),
)


def is_on_main(of: sa.Table) -> sa.ColumnElement[bool]:
    """Render whether a row's commit is in the history of `main`."""
    off = sa.select(OFF_MAIN.c.snapshot_id).where(
        OFF_MAIN.c.table_name == of.c.table_name, OFF_MAIN.c.snapshot_id == of.c.snapshot_id
    )
    return ~off.exists()
