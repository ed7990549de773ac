"""Who holds the leases on snapshots; the tables themselves say what is leased."""

import sqlalchemy as sa

from headrace.registry.records import LeaseRecord
from headrace.registry.schema import LEASES
from headrace.registry.upsert import insert_or_replace


class Leases:
    """The holders of leases, by lease id."""

    engine: sa.Engine

    def record_lease(self, lease: LeaseRecord, *, now_ms: int) -> None:
        """Record who holds a lease, replacing its older record; delete the records of ended leases."""
        row = {c.name: getattr(lease, c.name) for c in LEASES.columns if c.name != "table_name"}
        row["table_name"] = lease.table
        with self.engine.begin() as connection:
            connection.execute(insert_or_replace(self.engine, LEASES), row)
            connection.execute(sa.delete(LEASES).where(LEASES.c.ends_at_ms < now_ms))

    def forget_lease(self, lease_id: str) -> None:
        """Delete the record of a lease that was released."""
        with self.engine.begin() as connection:
            connection.execute(sa.delete(LEASES).where(LEASES.c.lease_id == lease_id))

    def lease_holders(self, table: str) -> dict[str, str]:
        """Return who holds the leases on a table, by lease id; some may have ended already."""
        query = sa.select(LEASES.c.lease_id, LEASES.c.holder).where(LEASES.c.table_name == table)
        with self.engine.connect() as connection:
            return {row.lease_id: row.holder for row in connection.execute(query)}
