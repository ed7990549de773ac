"""What each commit of a table did and read, kept after its snapshot expires."""

import itertools
import json
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from headrace.registry.one_statement import changing, reading
from headrace.registry.records import OVERWRITE, CommitRecord, Edge
from headrace.registry.schema import COMMITS, OFF_MAIN, ORIGINS, is_on_main
from headrace.registry.upsert import insert_missing

_IN_MAX = 500  # values in one `in (…)`
# moves may be long, and only a rollback reads them
_SHORT = [column for column in COMMITS.columns if column.name != "moves"]


class Commits:
    """The commits of all tables, and which of them are in the history of `main`."""

    engine: sa.Engine

    def record_commit(self, record: CommitRecord, *, on_main: bool = True) -> bool:
        """Record a commit, in the history of `main` or not; False if it was recorded already."""
        row = {c.name: getattr(record, c.name) for c in COMMITS.columns if c.name != "table_name"}
        row |= {
            "table_name": record.table,
            "partitions": json.dumps(list(record.partitions)),
            "inputs": json.dumps(dict(record.inputs), sort_keys=True),
        }
        key = {"table_name": record.table, "snapshot_id": record.snapshot_id}
        rows: list[tuple[sa.Table, dict[str, Any]]] = [(COMMITS, row)]
        rows += [(ORIGINS, key | {"origin": origin}) for origin in record.origins]
        is_one = on_main and len(rows) == 1
        with (changing if is_one else sa.Engine.begin)(self.engine) as connection:
            made = [
                connection.execute(insert_missing(self.engine, table), values).rowcount
                for table, values in rows
            ]
            if made[0] and not on_main:
                connection.execute(insert_missing(self.engine, OFF_MAIN), key)
        return made[0] == 1

    def move_main(
        self, table: str, *, gained: Sequence[int] = (), lost: Sequence[int] = ()
    ) -> None:
        """Record that commits entered or left the history of `main` when it was moved."""
        rows = [{"table_name": table, "snapshot_id": each} for each in lost]
        with self.engine.begin() as connection:
            if rows:
                connection.execute(insert_missing(self.engine, OFF_MAIN), rows)
            if gained:
                connection.execute(_BACK_ON_MAIN, [{"of": table, "id": each} for each in gained])

    def knows_commit(self, table: str, snapshot_id: int, *, on_main: bool = False) -> bool:
        """Whether this commit was recorded, and, if asked, recorded as one of `main`."""
        query = _select_commit(table, snapshot_id)
        if on_main:
            query = query.where(is_on_main(COMMITS))
        with reading(self.engine) as connection:
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

        The line ends early where an ancestor is not recorded. Leaves out moves and origins.
        """
        key = {"of": table, "id": snapshot_id, "back_to": back_to}
        with self.engine.connect() as connection:
            rows = connection.execute(_LINE, key).mappings()
            return {row["snapshot_id"]: _commit_of(row) for row in rows}

    def replacing_since(self, table: str, snapshot_id: int) -> list[int]:
        """Return the first commit of `main` after a recorded one that `replaces_rows`; empty if none does."""
        first = COMMITS.alias()
        began = sa.select(first.c.sequence_number).where(
            first.c.table_name == table, first.c.snapshot_id == snapshot_id
        )
        query = (
            sa.select(COMMITS.c.snapshot_id)
            .where(
                COMMITS.c.table_name == table,
                COMMITS.c.sequence_number > began.scalar_subquery(),
                COMMITS.c.operation == OVERWRITE,
                COMMITS.c.rows_added > 0,
                COMMITS.c.rows_added >= COMMITS.c.rows_removed,
                is_on_main(COMMITS),
            )
            .order_by(COMMITS.c.sequence_number)
            .limit(1)
        )
        with self.engine.connect() as connection:
            return list(connection.execute(query).scalars())

    def commit_from(self, table: str, origin: str) -> int | None:
        """Return the commit in the history of `main` that published the rows of an origin, if any."""
        query = sa.select(ORIGINS.c.snapshot_id).where(
            ORIGINS.c.table_name == table, ORIGINS.c.origin == origin, is_on_main(ORIGINS)
        )
        with self.engine.connect() as connection:
            return connection.execute(query).scalars().first()

    def commits(self, table: str, *, limit: int = 100) -> list[CommitRecord]:
        """Return the latest commits in the history of `main`, newest first, without moves and origins."""
        query = (
            sa.select(*_SHORT)
            .where(COMMITS.c.table_name == table, is_on_main(COMMITS))
            .order_by(COMMITS.c.sequence_number.desc())
            .limit(limit)
        )
        with self.engine.connect() as connection:
            return [_commit_of(row) for row in connection.execute(query).mappings()]

    def commits_since(self, table: str, since_ms: int, *, limit: int) -> list[CommitRecord]:
        """Return the commits of a table from `since_ms` on, newest first, at most `limit`.

        Reads no older ones, however many there are. Leaves out moves and origins.
        """
        query = (
            sa.select(*_SHORT)
            .where(COMMITS.c.table_name == table)
            .order_by(COMMITS.c.sequence_number.desc())
            .limit(limit)
        )
        return [_commit_of(row) for row in self._down_to(since_ms, query)]

    def moves_since(
        self, table: str, since_ms: int, *, limit: int, chars_max: int
    ) -> list[tuple[int, str]]:
        """Return when commits from `since_ms` on were made and what they moved, newest first.

        At most `limit`; those whose moves have more than `chars_max` characters are left out.
        """
        query = (
            sa.select(COMMITS.c.committed_at_ms, COMMITS.c.moves)
            .where(COMMITS.c.table_name == table, sa.func.length(COMMITS.c.moves) <= chars_max)
            .order_by(COMMITS.c.sequence_number.desc())
            .limit(limit)
        )
        return [(row["committed_at_ms"], row["moves"]) for row in self._down_to(since_ms, query)]

    def _down_to(
        self, since_ms: int, newest_first: sa.Select[*tuple[Any, ...]]
    ) -> list[sa.RowMapping]:
        """Read rows until one is older; the database does not read on."""
        with self.engine.connect() as connection:
            streamed = connection.execution_options(yield_per=256).execute(newest_first)
            return list(
                itertools.takewhile(
                    lambda row: row["committed_at_ms"] >= since_ms, streamed.mappings()
                )
            )

    def commits_after(self, table: str, sequence_number: int, *, limit: int) -> list[CommitRecord]:
        """Return the commits of `main` after a sequence number, oldest first, at most `limit`.

        Leaves out moves and origins.
        """
        query = (
            sa.select(*_SHORT)
            .where(
                COMMITS.c.table_name == table,
                COMMITS.c.sequence_number > sequence_number,
                is_on_main(COMMITS),
            )
            .order_by(COMMITS.c.sequence_number)
            .limit(limit)
        )
        with self.engine.connect() as connection:
            return [_commit_of(row) for row in connection.execute(query).mappings()]

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

    def edges(self) -> list[Edge]:
        """Return which tables were computed from which, by the latest commit of each target."""
        latest = (
            sa.select(
                COMMITS.c.table_name,
                sa.func.max(COMMITS.c.sequence_number).label("sequence_number"),
            )
            .where(COMMITS.c.inputs != "{}", is_on_main(COMMITS))
            .group_by(COMMITS.c.table_name)
            .subquery()
        )
        query = sa.select(*_SHORT).join(
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


def _select_commit(table: str, snapshot_id: int) -> sa.Select[tuple[int]]:
    return sa.select(COMMITS.c.snapshot_id).where(
        COMMITS.c.table_name == table, COMMITS.c.snapshot_id == snapshot_id
    )


def _select_line() -> sa.Select[Any]:
    of, back_to = sa.bindparam("of"), sa.bindparam("back_to", type_=sa.BigInteger)
    line = (
        sa.select(*_SHORT)
        .where(COMMITS.c.table_name == of, COMMITS.c.snapshot_id == sa.bindparam("id"))
        .where(COMMITS.c.snapshot_id.is_distinct_from(back_to))
        .cte("line", recursive=True)
    )
    parents = sa.select(*_SHORT).where(
        COMMITS.c.table_name == of,
        COMMITS.c.snapshot_id == line.c.parent_id,
        COMMITS.c.snapshot_id.is_distinct_from(back_to),
    )
    return sa.select(line.union_all(parents))


# built once: building a statement takes longer than running it
_LINE = _select_line()
_COMMIT = sa.select(COMMITS).where(
    COMMITS.c.table_name == sa.bindparam("of"), COMMITS.c.snapshot_id == sa.bindparam("id")
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
