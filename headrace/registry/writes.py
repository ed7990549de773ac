"""Writers whose files no commit names yet: each holds a lease that it renews while it writes."""

from collections.abc import Collection
from dataclasses import asdict

import sqlalchemy as sa

from headrace.registry.heartbeat import Heartbeat
from headrace.registry.one_statement import changing
from headrace.registry.records import WriteRecord
from headrace.registry.schema import WRITES
from headrace.registry.server_clock import ServerClock

LAPSE_S = 600.0  # a writer that did not renew for so long counts as dead where it cannot be seen
_ASKED_IDS_MAX = 500  # of one statement


class Writes:
    """The writes that have not ended.

    They mean nothing after a power cut, so they are recorded without waiting for the disk. All
    times are those of the registry: of its server, or of this host where it is a file.
    """

    engine: sa.Engine
    passing: sa.Engine
    clock: ServerClock
    heartbeat: Heartbeat

    def begin_write(self, record: WriteRecord) -> None:
        """Record that files of this write are about to appear; it is renewed until it ends."""
        row = {**asdict(record), "table_name": record.table}
        del row["table"]
        row["started_at_ms"] = row["renewed_at_ms"] = self.clock.now_ms()
        with changing(self.passing) as connection:
            connection.execute(sa.insert(WRITES), row)
        self.heartbeat.keep(record.write_id)

    def renew_writes(self, write_ids: Collection[str]) -> frozenset[str]:
        """Renew the leases of writes; return those that are held. One that has lapsed stays lapsed."""
        held: set[str] = set()
        wanted = sorted(write_ids)
        for at in range(0, len(wanted), _ASKED_IDS_MAX):
            now_ms = self.clock.told_ms()
            statement = (
                sa.update(WRITES)
                .where(WRITES.c.write_id.in_(wanted[at : at + _ASKED_IDS_MAX]))
                .where(WRITES.c.renewed_at_ms > now_ms - int(LAPSE_S * 1000))
                .values(renewed_at_ms=now_ms)
                .returning(WRITES.c.write_id)
            )
            with changing(self.passing) as connection:
                held.update(connection.execute(statement).scalars())
        return frozenset(held)

    def end_writes(self, write_ids: Collection[str]) -> None:
        """Delete the records of writes; unknown ids are ignored."""
        self.heartbeat.drop(write_ids)
        statement = sa.delete(WRITES).where(WRITES.c.write_id == sa.bindparam("ended"))
        ended = [{"ended": write_id} for write_id in sorted(write_ids)]
        with (changing if len(ended) == 1 else sa.Engine.begin)(self.passing) as connection:
            connection.execute(statement, ended)

    def writes(self, table: str | None = None) -> list[WriteRecord]:
        """Return the writes of one table, or of all, that have not ended."""
        query = sa.select(WRITES).order_by(WRITES.c.started_at_ms, WRITES.c.write_id)
        if table is not None:
            query = query.where(WRITES.c.table_name == table)
        with self.engine.connect() as connection:
            rows = [dict(row) for row in connection.execute(query).mappings()]
        return [WriteRecord(table=row.pop("table_name"), **row) for row in rows]
