"""Reading and writing the control database."""

import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, replace
from typing import Any

import sqlalchemy as sa
import sqlalchemy.event
from sqlalchemy.dialects.sqlite import insert

from headrace.registry.databases import name_errors, prepare_passing, prepare_sqlite
from headrace.registry.records import (
    Build,
    CommitRecord,
    DatasetRecord,
    Edge,
    LeaseRecord,
    Measure,
    WriteRecord,
)
from headrace.registry.schema import (
    BUILDS,
    COMMITS,
    DATASET_VERSIONS,
    LEASES,
    MEASURES,
    METADATA,
    OFF_MAIN,
    ORIGINS,
    PROPERTY_MOVES,
    WRITES,
)
from headrace.registry.source_ledger import SourceLedger

_IN_MAX = 500  # values in one `in (…)`


class Registry:
    """Lineage, builds, versions and running writes in one SQL database.

    Rows are O(commits) and indexed by table and time. Every method is one short transaction, safe
    from several processes.
    """

    def __init__(self, uri: str, *, wait_s: float = 30) -> None:
        self.engine = _engine(uri, wait_s)
        sqlalchemy.event.listen(self.engine, "connect", prepare_sqlite)
        # for rows that mean nothing after a power cut; waiting for the disk is most of their cost
        self._passing = _engine(uri, wait_s)
        sqlalchemy.event.listen(self._passing, "connect", prepare_passing)
        for engine in (self.engine, self._passing):
            name_errors(engine, "registry")
        try:
            METADATA.create_all(self.engine)
        except BaseException:
            self.close()
            raise
        self.sources = SourceLedger(self.engine)

    def close(self) -> None:
        """Release the connections."""
        self.engine.dispose()
        self._passing.dispose()

    def record_commit(self, record: CommitRecord, *, on_main: bool = True) -> bool:
        """Remember a commit, in the history of `main` or not; False if it was known already."""
        row = {c.name: getattr(record, c.name) for c in COMMITS.columns if c.name != "table_name"}
        row |= {
            "table_name": record.table,
            "partitions": json.dumps(list(record.partitions)),
            "inputs": json.dumps(dict(record.inputs), sort_keys=True),
        }
        key = {"table_name": record.table, "snapshot_id": record.snapshot_id}
        rows: list[tuple[sa.Table, dict[str, Any]]] = [(COMMITS, row)]
        if record.moves:
            rows.append((PROPERTY_MOVES, key | {"moves": record.moves}))
        rows += [(ORIGINS, key | {"origin": origin}) for origin in record.origins]
        with self.engine.begin() as connection:
            made = [
                connection.execute(insert(table).values(values).on_conflict_do_nothing()).rowcount
                for table, values in rows
            ]
            if made[0] and not on_main:
                connection.execute(insert(OFF_MAIN).values(key).on_conflict_do_nothing())
        return made[0] == 1

    def move_main(
        self, table: str, *, gained: Sequence[int] = (), lost: Sequence[int] = ()
    ) -> None:
        """Remember that commits came into, or left, the history of `main` when it was moved."""
        rows = [{"table_name": table, "snapshot_id": each} for each in lost]
        with self.engine.begin() as connection:
            if rows:
                connection.execute(insert(OFF_MAIN).on_conflict_do_nothing(), rows)
            if gained:
                connection.execute(_BACK_ON_MAIN, [{"of": table, "id": each} for each in gained])

    def knows_commit(self, table: str, snapshot_id: int, *, on_main: bool = False) -> bool:
        """Whether this commit was recorded, and, if asked, recorded as one of `main`."""
        query = _select_commit(table, snapshot_id)
        if on_main:
            query = query.where(_is_on_main(COMMITS))
        with self.engine.connect() as connection:
            return connection.execute(query).first() is not None

    def commit(self, table: str, snapshot_id: int) -> CommitRecord | None:
        """Return one commit, whether or not its snapshot is still alive."""
        key = {"of": table, "id": snapshot_id}
        with self.engine.connect() as connection:
            row = connection.execute(_COMMIT, key).mappings().first()
            found = () if row is None else connection.execute(_ITS_ORIGINS, key).scalars().all()
        return None if row is None else replace(_commit_of(row), origins=tuple(sorted(found)))

    def line_to(
        self, table: str, snapshot_id: int, *, back_to: int | None = None
    ) -> dict[int, CommitRecord]:
        """Return a commit and its ancestors by snapshot, down to and without `back_to`, in one query.

        The line ends early where an ancestor is not on record. Says neither moves nor origins.
        """
        key = {"of": table, "id": snapshot_id, "back_to": back_to}
        with self.engine.connect() as connection:
            rows = connection.execute(_LINE, key).mappings()
            return {row["snapshot_id"]: _commit_of(row) for row in rows}

    def commit_from(self, table: str, origin: str) -> int | None:
        """Return the commit in the history of `main` that brought what an origin names, if one did."""
        query = sa.select(ORIGINS.c.snapshot_id).where(
            ORIGINS.c.table_name == table, ORIGINS.c.origin == origin, _is_on_main(ORIGINS)
        )
        with self.engine.connect() as connection:
            return connection.execute(query).scalars().first()

    def commits(self, table: str, *, limit: int = 100) -> list[CommitRecord]:
        """Return the latest commits in the history of `main`, newest first."""
        query = (
            sa.select(COMMITS)
            .where(COMMITS.c.table_name == table, _is_on_main(COMMITS))
            .order_by(COMMITS.c.sequence_number.desc())
            .limit(limit)
        )
        with self.engine.connect() as connection:
            return [_commit_of(row) for row in connection.execute(query).mappings()]

    def commits_since(self, table: str, since_ms: int, *, limit: int) -> list[CommitRecord]:
        """Return the commits of a table from `since_ms` on, newest first, at most `limit`.

        Reads no older ones, however many there are.
        """
        query = (
            sa.select(COMMITS)
            .where(COMMITS.c.table_name == table)
            .order_by(COMMITS.c.sequence_number.desc())
            .limit(limit)
        )
        found: list[CommitRecord] = []
        with self.engine.connect() as connection:
            for row in connection.execution_options(yield_per=256).execute(query).mappings():
                if row["committed_at_ms"] < since_ms:
                    break
                found.append(_commit_of(row))
        return found

    def first_commit_ms(self, table: str) -> int | None:
        """Return when the oldest commit on record was made, epoch milliseconds."""
        query = (
            sa.select(COMMITS.c.committed_at_ms)
            .where(COMMITS.c.table_name == table)
            .order_by(COMMITS.c.sequence_number)
            .limit(1)
        )
        with self.engine.connect() as connection:
            return connection.execute(query).scalars().first()

    def commit_times(self, table: str, sequence_numbers: Collection[int]) -> dict[int, int]:
        """Return when commits were made, in epoch milliseconds, by sequence number."""
        columns = (COMMITS.c.sequence_number, COMMITS.c.committed_at_ms)
        wanted = sorted(set(sequence_numbers))
        found: dict[int, int] = {}
        with self.engine.connect() as connection:
            for start in range(0, len(wanted), _IN_MAX):
                query = sa.select(*columns).where(
                    COMMITS.c.table_name == table,
                    COMMITS.c.sequence_number.in_(wanted[start : start + _IN_MAX]),
                )
                found |= {int(at): int(ms) for at, ms in connection.execute(query)}
        return found

    def record_measure(self, table: str, name: str, value: int, *, measured_at_ms: int) -> None:
        """Remember a number about a table, replacing what was known of it."""
        row = {
            "table_name": table,
            "name": name,
            "value": value,
            "measured_at_ms": measured_at_ms,
        }
        statement = insert(MEASURES)
        replaced = {key: statement.excluded[key] for key in ("value", "measured_at_ms")}
        with self.engine.begin() as connection:
            connection.execute(
                statement.on_conflict_do_update(
                    index_elements=["table_name", "name"], set_=replaced
                ),
                row,
            )

    def measures(self, table: str) -> dict[str, Measure]:
        """Return what was measured of a table, by name."""
        query = sa.select(MEASURES).where(MEASURES.c.table_name == table)
        with self.engine.connect() as connection:
            rows = connection.execute(query).mappings().all()
        return {
            row["name"]: Measure(value=row["value"], measured_at_ms=row["measured_at_ms"])
            for row in rows
        }

    def edges(self) -> list[Edge]:
        """Return which tables were computed from which, by the latest commit of each target."""
        latest = (
            sa.select(
                COMMITS.c.table_name,
                sa.func.max(COMMITS.c.sequence_number).label("sequence_number"),
            )
            .where(COMMITS.c.inputs != "{}", _is_on_main(COMMITS))
            .group_by(COMMITS.c.table_name)
            .subquery()
        )
        query = sa.select(COMMITS).join(
            latest,
            sa.and_(
                COMMITS.c.table_name == latest.c.table_name,
                COMMITS.c.sequence_number == latest.c.sequence_number,
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
        statement = insert(BUILDS)
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
        """Return the last build of every partition of a table, by partition text.

        A build that was rolled back is none: its rows are gone.
        """
        query = sa.select(BUILDS).where(BUILDS.c.table_name == table, _is_on_main(BUILDS))
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
        statement = insert(DATASET_VERSIONS).values(row).on_conflict_do_nothing()
        with self.engine.begin() as connection:
            return connection.execute(statement).rowcount == 1

    def settle_dataset(self, name: str, version: int, *, state: str) -> None:
        """Say how a claim ended, `published` or `abandoned`; a settled one stays as it is."""
        table = DATASET_VERSIONS
        this = sa.and_(table.c.name == name, table.c.version == version)
        with self.engine.begin() as connection:
            connection.execute(
                sa.update(table).where(this, table.c.state == "claimed").values(state=state)
            )

    def datasets(self, name: str | None = None) -> list[DatasetRecord]:
        """Return the versions of one dataset, or of all, by name and version."""
        table = DATASET_VERSIONS
        query = sa.select(table).order_by(table.c.name, table.c.version)
        if name is not None:
            query = query.where(table.c.name == name)
        with self.engine.connect() as connection:
            return [DatasetRecord(**row) for row in connection.execute(query).mappings()]

    def record_lease(self, lease: LeaseRecord, *, now_ms: int) -> None:
        """Remember who holds a lease, replacing what was known of it; forget those that are over."""
        row = {c.name: getattr(lease, c.name) for c in LEASES.columns if c.name != "table_name"}
        row["table_name"] = lease.table
        statement = insert(LEASES).values(row)
        with self.engine.begin() as connection:
            connection.execute(
                statement.on_conflict_do_update(index_elements=["lease_id"], set_=row)
            )
            connection.execute(sa.delete(LEASES).where(LEASES.c.ends_at_ms < now_ms))

    def forget_lease(self, lease_id: str) -> None:
        """Forget a lease that was ended."""
        with self.engine.begin() as connection:
            connection.execute(sa.delete(LEASES).where(LEASES.c.lease_id == lease_id))

    def lease_holders(self, table: str) -> dict[str, str]:
        """Return who holds the leases on a table, by lease id; some may be over already."""
        query = sa.select(LEASES.c.lease_id, LEASES.c.holder).where(LEASES.c.table_name == table)
        with self.engine.connect() as connection:
            return {row.lease_id: row.holder for row in connection.execute(query)}

    def begin_write(self, record: WriteRecord) -> None:
        """Remember that files of this write are about to appear."""
        row = {**asdict(record), "table_name": record.table}
        del row["table"]
        with self._passing.begin() as connection:
            connection.execute(insert(WRITES).values(row))

    def end_writes(self, write_ids: Collection[str]) -> None:
        """Forget writes; those that are not there are no matter."""
        statement = sa.delete(WRITES).where(WRITES.c.write_id == sa.bindparam("ended"))
        with self._passing.begin() as connection:
            connection.execute(statement, [{"ended": write_id} for write_id in write_ids])

    def writes(self, table: str | None = None) -> list[WriteRecord]:
        """Return the writes of one table, or of all, that have not ended."""
        query = sa.select(WRITES).order_by(WRITES.c.started_at_ms, WRITES.c.write_id)
        if table is not None:
            query = query.where(WRITES.c.table_name == table)
        with self.engine.connect() as connection:
            rows = [dict(row) for row in connection.execute(query).mappings()]
        return [WriteRecord(table=row.pop("table_name"), **row) for row in rows]


def _engine(uri: str, wait_s: float) -> sa.Engine:
    # as for files by default, said for databases in memory
    arguments = {"timeout": wait_s, "check_same_thread": False}
    return sa.create_engine(uri, connect_args=arguments, poolclass=sa.QueuePool)


def _select_commit(table: str, snapshot_id: int) -> sa.Select[tuple[int]]:
    return sa.select(COMMITS.c.snapshot_id).where(
        COMMITS.c.table_name == table, COMMITS.c.snapshot_id == snapshot_id
    )


def _is_on_main(of: sa.Table) -> sa.ColumnElement[bool]:
    off = sa.select(OFF_MAIN.c.snapshot_id).where(
        OFF_MAIN.c.table_name == of.c.table_name, OFF_MAIN.c.snapshot_id == of.c.snapshot_id
    )
    return ~off.exists()


def _select_line() -> sa.Select[Any]:
    of, back_to = sa.bindparam("of"), sa.bindparam("back_to", type_=sa.BigInteger)
    line = (
        sa.select(COMMITS)
        .where(COMMITS.c.table_name == of, COMMITS.c.snapshot_id == sa.bindparam("id"))
        .where(COMMITS.c.snapshot_id.is_distinct_from(back_to))
        .cte("line", recursive=True)
    )
    parents = sa.select(COMMITS).where(
        COMMITS.c.table_name == of,
        COMMITS.c.snapshot_id == line.c.parent_id,
        COMMITS.c.snapshot_id.is_distinct_from(back_to),
    )
    return sa.select(line.union_all(parents))


# built once: building a statement takes longer than running it
_LINE = _select_line()
_COMMIT = (
    sa.select(COMMITS, sa.func.coalesce(PROPERTY_MOVES.c.moves, "").label("moves"))
    .select_from(
        COMMITS.outerjoin(
            PROPERTY_MOVES,
            sa.and_(
                PROPERTY_MOVES.c.table_name == COMMITS.c.table_name,
                PROPERTY_MOVES.c.snapshot_id == COMMITS.c.snapshot_id,
            ),
        )
    )
    .where(COMMITS.c.table_name == sa.bindparam("of"), COMMITS.c.snapshot_id == sa.bindparam("id"))
)
_ITS_ORIGINS = sa.select(ORIGINS.c.origin).where(
    ORIGINS.c.table_name == sa.bindparam("of"), ORIGINS.c.snapshot_id == sa.bindparam("id")
)
_BACK_ON_MAIN = sa.delete(OFF_MAIN).where(
    OFF_MAIN.c.table_name == sa.bindparam("of"), OFF_MAIN.c.snapshot_id == sa.bindparam("id")
)


def _commit_of(row: sa.RowMapping) -> CommitRecord:
    values: dict[str, Any] = {str(key): value for key, value in row.items()}
    values["table"] = row["table_name"]
    del values["table_name"]
    values["partitions"] = tuple(json.loads(row["partitions"]))
    values["inputs"] = json.loads(row["inputs"])
    return CommitRecord(**values)
