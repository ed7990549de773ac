"""Finds what must never be in a sample table: values from the future and repeated ids."""

from dataclasses import dataclass

from headrace.config import Settings
from headrace.engines.open import open_engine
from headrace.identifiers import quote
from headrace.samples.resolve import EVENT_TIME, SAMPLE_ID
from headrace.tables.version import TableVersion

EXAMPLES_MAX = 3
_USED_TIMES = ("__event_time", "__known_at")


@dataclass(frozen=True, kw_only=True)
class Audited:
    """How many sample ids break a rule, and the first `EXAMPLES_MAX` of them in order."""

    count: int
    examples: tuple[str, ...]


def leaks(version: TableVersion, *, settings: Settings) -> Audited:
    """Find samples that use a feature row of their own time or later."""
    times = [name for name in version.schema.names if name.endswith(_USED_TIMES)]
    future = " or ".join(f"{quote(name)} >= {quote(EVENT_TIME)}" for name in times)
    return _find(version, f"where {future or 'false'}", settings=settings)


def duplicate_ids(version: TableVersion, *, settings: Settings) -> Audited:
    """Find sample ids that occur more than once, over all days."""
    return _find(version, f"group by {SAMPLE_ID} having count(*) > 1", settings=settings)


def _find(version: TableVersion, rest: str, *, settings: Settings) -> Audited:
    with open_engine(settings) as engine:
        engine.bind("audited", version)
        found = f"select {SAMPLE_ID} as id from audited {rest}"
        sql = f"select count(*) as n, min(id, {EXAMPLES_MAX}) as first from ({found})"
        row = engine.query(sql).read_all().to_pylist()[0]
    return Audited(count=row["n"], examples=tuple(str(each) for each in row["first"] or ()))
