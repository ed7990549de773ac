"""Counts what must never be in a sample table: values from the future, an id twice."""

from headrace.config import Settings
from headrace.engines.duckdb import DuckDBEngine
from headrace.identifiers import quote
from headrace.samples.resolve import EVENT_TIME, SAMPLE_ID
from headrace.tables.scan import TableVersion

_USED_TIMES = ("__event_time", "__known_at")


def leaks(version: TableVersion, *, settings: Settings) -> int:
    """Count samples that use a feature row of their own time or later."""
    times = [name for name in version.schema.names if name.endswith(_USED_TIMES)]
    future = " or ".join(f"{quote(name)} >= {quote(EVENT_TIME)}" for name in times)
    return _count(version, f"where {future or 'false'}", settings=settings)


def duplicate_ids(version: TableVersion, *, settings: Settings) -> int:
    """Count sample ids that occur more than once, over all days."""
    return _count(version, f"group by {SAMPLE_ID} having count(*) > 1", settings=settings)


def _count(version: TableVersion, rest: str, *, settings: Settings) -> int:
    with DuckDBEngine.open(settings) as engine:
        engine.bind("audited", version)
        sql = f"select count(*) as n from (select {SAMPLE_ID} from audited {rest})"
        return int(engine.query(sql).read_all().column("n")[0].as_py())
