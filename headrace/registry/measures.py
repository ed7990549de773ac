"""Numbers about tables that are too expensive to compute on every read."""

import sqlalchemy as sa

from headrace.registry.records import Measure
from headrace.registry.schema import MEASURES
from headrace.registry.upsert import insert_or_replace

# when a writer asked for maintenance of its table, in milliseconds since 1970
MAINTENANCE_ASKED_MS = "maintenance_asked_ms"


class Measures:
    """The newest value of each measure of each table."""

    engine: sa.Engine

    def record_measure(self, table: str, name: str, value: int, *, measured_at_ms: int) -> None:
        """Record a number about a table, replacing the older one of this name."""
        row = {
            "table_name": table,
            "name": name,
            "value": value,
            "measured_at_ms": measured_at_ms,
        }
        with self.engine.begin() as connection:
            connection.execute(insert_or_replace(self.engine, MEASURES), row)

    def measures(self, table: str) -> dict[str, Measure]:
        """Return the measures of a table, by name."""
        query = sa.select(MEASURES).where(MEASURES.c.table_name == table)
        with self.engine.connect() as connection:
            rows = connection.execute(query).mappings().all()
        return {
            row["name"]: Measure(value=row["value"], measured_at_ms=row["measured_at_ms"])
            for row in rows
        }

    def greatest_measure(self, name: str) -> int | None:
        """Return the greatest value that a measure has of any table; None if it has none."""
        query = sa.select(sa.func.max(MEASURES.c.value)).where(MEASURES.c.name == name)
        with self.engine.connect() as connection:
            return connection.execute(query).scalar()
