"""Writers whose files no commit names yet."""

from collections.abc import Collection
from dataclasses import asdict

import sqlalchemy as sa

from headrace.registry.records import WriteRecord
from headrace.registry.schema import WRITES


class Writes:
    """The writes that have not ended.

    They mean nothing after a power cut, so they are recorded without waiting for the disk.
    """

    engine: sa.Engine
    passing: sa.Engine

    def begin_write(self, record: WriteRecord) -> None:
        """Record that files of this write are about to appear."""
        row = {**asdict(record), "table_name": record.table}
        del row["table"]
        with self.passing.begin() as connection:
            connection.execute(sa.insert(WRITES), row)

    def end_writes(self, write_ids: Collection[str]) -> None:
        """Delete the records of writes; unknown ids are ignored."""
        statement = sa.delete(WRITES).where(WRITES.c.write_id == sa.bindparam("ended"))
        with self.passing.begin() as connection:
            connection.execute(statement, [{"ended": write_id} for write_id in sorted(write_ids)])

    def writes(self, table: str | None = None) -> list[WriteRecord]:
        """Return the writes of one table, or of all, that have not ended."""
        query = sa.select(WRITES).order_by(WRITES.c.started_at_ms, WRITES.c.write_id)
        if table is not None:
            query = query.where(WRITES.c.table_name == table)
        with self.engine.connect() as connection:
            rows = [dict(row) for row in connection.execute(query).mappings()]
        return [WriteRecord(table=row.pop("table_name"), **row) for row in rows]
