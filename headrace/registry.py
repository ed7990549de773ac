"""The control database: what each commit did and read, kept after snapshots expire."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
import sqlalchemy.event
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import DatabaseError, InterfaceError, OperationalError

from headrace.errors import DatabaseUnavailableError

_METADATA = sa.MetaData()

_COMMITS = sa.Table(
    "commits",
    _METADATA,
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
    sa.Index("commits_by_time", "table_name", "sequence_number"),
)

_BUILDS = sa.Table(
    "builds",
    _METADATA,
    sa.Column("table_name", sa.Text, primary_key=True),
    sa.Column("partition", sa.Text, primary_key=True),
    sa.Column("snapshot_id", sa.BigInteger, nullable=False),
    sa.Column("inputs", sa.Text, nullable=False),
    sa.Column("code", sa.Text, nullable=False),
    sa.Column("watermarks", sa.Text, nullable=False),
)

_DATASET_VERSIONS = sa.Table(
    "dataset_versions",
    _METADATA,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("version", sa.BigInteger, primary_key=True),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("lockfile", sa.Text, nullable=False),
)


@dataclass(frozen=True, kw_only=True)
class CommitRecord:
    """One commit of one table; partitions are canonical texts of their keys."""

    table: str
    snapshot_id: int
    parent_id: int | None
    sequence_number: int
    committed_at_ms: int
    operation: str
    partitions: tuple[str, ...] = ()
    inputs: Mapping[str, int] = field(default_factory=dict)
    code: str = ""
    run_id: str = ""
    files_added: int = 0
    files_removed: int = 0
    rows_added: int = 0
    rows_removed: int = 0


@dataclass(frozen=True, kw_only=True)
class Edge:
    """One table was computed from one snapshot of another; the latest such fact per pair."""

    source: str
    source_snapshot_id: int
    target: str
    target_snapshot_id: int
    committed_at_ms: int


@dataclass(frozen=True, kw_only=True)
class Build:
    """What one partition of a derived table was last built from."""

    table: str
    partition: str
    snapshot_id: int
    inputs: Mapping[str, int]
    code: str
    watermarks: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class DatasetRecord:
    """One version number of a dataset, taken for good.

    `state` is `claimed` while its tags and files are being made, then `published`, or `abandoned`
    if they could not be.
    """

    name: str
    version: int
    state: str
    lockfile: str


def name_errors(engine: sa.Engine, database: str) -> None:
    """Let a locked, full or unreachable database raise `DatabaseUnavailableError`.

    Broken constraints and wrong SQL stay what they are: callers and bugs need to be told apart.
    """

    def name_error(context: sa.ExceptionContext) -> None:
        error = context.sqlalchemy_exception
        if isinstance(error, OperationalError | InterfaceError) or (
            type(error) is DatabaseError  # a damaged file
        ):
            raise DatabaseUnavailableError(database, str(context.original_exception))

    sqlalchemy.event.listen(engine, "handle_error", name_error)


class Registry:
    """Lineage, builds and versions in one SQL database.

    Rows are O(commits) and indexed by table and time. Every method is one short transaction, safe
    from several processes.
    """

    def __init__(self, uri: str, *, wait_s: float = 30) -> None:
        self.engine = sa.create_engine(uri, connect_args={"timeout": wait_s})
        sqlalchemy.event.listen(self.engine, "connect", _prepare_sqlite)
        name_errors(self.engine, "registry")
        _METADATA.create_all(self.engine)

    def close(self) -> None:
        """Release the connections."""
        self.engine.dispose()

    def record_commit(self, record: CommitRecord) -> None:
        """Remember a commit; the same commit again changes nothing."""
        row = {
            **{c.name: getattr(record, c.name) for c in _COMMITS.columns if c.name != "table_name"},
            "table_name": record.table,
            "partitions": json.dumps(list(record.partitions)),
            "inputs": json.dumps(dict(record.inputs), sort_keys=True),
        }
        with self.engine.begin() as connection:
            connection.execute(insert(_COMMITS).values(row).on_conflict_do_nothing())

    def knows_commit(self, table: str, snapshot_id: int) -> bool:
        """Whether this commit was recorded."""
        query = sa.select(_COMMITS.c.snapshot_id).where(
            _COMMITS.c.table_name == table, _COMMITS.c.snapshot_id == snapshot_id
        )
        with self.engine.connect() as connection:
            return connection.execute(query).first() is not None

    def commit(self, table: str, snapshot_id: int) -> CommitRecord | None:
        """Return one commit, whether or not its snapshot is still alive."""
        query = sa.select(_COMMITS).where(
            _COMMITS.c.table_name == table, _COMMITS.c.snapshot_id == snapshot_id
        )
        with self.engine.connect() as connection:
            row = connection.execute(query).mappings().first()
        return None if row is None else _commit_of(row)

    def commits(self, table: str, *, limit: int = 100) -> list[CommitRecord]:
        """Return the latest commits of a table, newest first."""
        query = (
            sa.select(_COMMITS)
            .where(_COMMITS.c.table_name == table)
            .order_by(_COMMITS.c.sequence_number.desc())
            .limit(limit)
        )
        with self.engine.connect() as connection:
            return [_commit_of(row) for row in connection.execute(query).mappings()]

    def edges(self) -> list[Edge]:
        """Return which tables were computed from which, by the latest commit of each target."""
        latest = (
            sa.select(
                _COMMITS.c.table_name,
                sa.func.max(_COMMITS.c.sequence_number).label("sequence_number"),
            )
            .where(_COMMITS.c.inputs != "{}")
            .group_by(_COMMITS.c.table_name)
            .subquery()
        )
        query = sa.select(_COMMITS).join(
            latest,
            sa.and_(
                _COMMITS.c.table_name == latest.c.table_name,
                _COMMITS.c.sequence_number == latest.c.sequence_number,
            ),
        )
        with self.engine.connect() as connection:
            records = [_commit_of(row) for row in connection.execute(query).mappings()]
        found = [
            Edge(
                source=source,
                source_snapshot_id=snapshot_id,
                target=record.table,
                target_snapshot_id=record.snapshot_id,
                committed_at_ms=record.committed_at_ms,
            )
            for record in records
            for source, snapshot_id in record.inputs.items()
        ]
        return sorted(found, key=lambda edge: (edge.source, edge.target))

    def record_builds(self, builds: Sequence[Build]) -> None:
        """Remember what partitions were built from, replacing what was known of them."""
        rows = [
            {
                "table_name": build.table,
                "partition": build.partition,
                "snapshot_id": build.snapshot_id,
                "inputs": json.dumps(dict(build.inputs), sort_keys=True),
                "code": build.code,
                "watermarks": json.dumps(dict(build.watermarks), sort_keys=True),
            }
            for build in builds
        ]
        if not rows:
            return
        statement = insert(_BUILDS)
        replaced = {
            name: statement.excluded[name]
            for name in ("snapshot_id", "inputs", "code", "watermarks")
        }
        with self.engine.begin() as connection:
            connection.execute(
                statement.on_conflict_do_update(
                    index_elements=["table_name", "partition"], set_=replaced
                ),
                rows,
            )

    def builds(self, table: str) -> dict[str, Build]:
        """Return the last build of every partition of a table, by partition text."""
        query = sa.select(_BUILDS).where(_BUILDS.c.table_name == table)
        with self.engine.connect() as connection:
            rows = connection.execute(query).mappings().all()
        return {
            row["partition"]: Build(
                table=table,
                partition=row["partition"],
                snapshot_id=row["snapshot_id"],
                inputs=json.loads(row["inputs"]),
                code=row["code"],
                watermarks=json.loads(row["watermarks"]),
            )
            for row in rows
        }

    def claim_dataset(self, name: str, version: int, *, lockfile: str) -> bool:
        """Take a version number for this lockfile; False if it is taken. One of many callers wins."""
        row = {"name": name, "version": version, "state": "claimed", "lockfile": lockfile}
        statement = insert(_DATASET_VERSIONS).values(row).on_conflict_do_nothing()
        with self.engine.begin() as connection:
            return connection.execute(statement).rowcount == 1

    def settle_dataset(self, name: str, version: int, *, state: str) -> None:
        """Say how a claim ended, `published` or `abandoned`; a settled one stays as it is."""
        table = _DATASET_VERSIONS
        this = sa.and_(table.c.name == name, table.c.version == version)
        with self.engine.begin() as connection:
            connection.execute(
                sa.update(table).where(this, table.c.state == "claimed").values(state=state)
            )

    def datasets(self, name: str | None = None) -> list[DatasetRecord]:
        """Return the versions of one dataset, or of all, by name and version."""
        table = _DATASET_VERSIONS
        query = sa.select(table).order_by(table.c.name, table.c.version)
        if name is not None:
            query = query.where(table.c.name == name)
        with self.engine.connect() as connection:
            return [DatasetRecord(**row) for row in connection.execute(query).mappings()]


def _commit_of(row: sa.RowMapping) -> CommitRecord:
    values: dict[str, Any] = {str(key): value for key, value in row.items()}
    values["table"] = row["table_name"]
    del values["table_name"]
    values["partitions"] = tuple(json.loads(row["partitions"]))
    values["inputs"] = json.loads(row["inputs"])
    return CommitRecord(**values)


def _prepare_sqlite(connection: Any, _record: object) -> None:  # noqa: ANN401 - a DBAPI connection
    cursor = connection.cursor()
    cursor.execute("pragma journal_mode = wal")
    cursor.execute("pragma synchronous = normal")
    cursor.close()
