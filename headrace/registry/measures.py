"""Numbers about tables that are too expensive to compute on every read."""

from typing import Any

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
        return self._measures(query).get(table, {})

    def measures_of_all(self) -> dict[str, dict[str, Measure]]:
        """Return the measures of all tables that have any, by table and name, in one query."""
        return self._measures(sa.select(MEASURES))

    def _measures(self, query: sa.Select[Any]) -> dict[str, dict[str, Measure]]:
        found: dict[str, dict[str, Measure]] = {}
        with self.engine.connect() as connection:
            for row in connection.execute(query).mappings():
                measure = Measure(value=row["value"], measured_at_ms=row["measured_at_ms"])
                found.setdefault(row["table_name"], {})[row["name"]] = measure
        return found

    def greatest_measure(self, name: str) -> int | None:
        """Return the greatest value that a measure has of any table; None if it has none."""
        query = sa.select(sa.func.max(MEASURES.c.value)).where(MEASURES.c.name == name)
        with self.engine.connect() as connection:
            return connection.execute(query).scalar()
