"""Features as they were served: the values that a serving log has of an exposure, before those of the join.

An answer belongs to an exposure if it has the exposure's id, is about the sample set, and was given at
most `within` before the exposure and not after it, for a moment that is not after it either. Of several
the last one counts, as it is what was shown; of lines that were written twice the first to arrive. What an
answer used happened and was known before its moment, so it is never from the exposure's future.

A view whose columns an answer lacks, because it was given by an older definition or not at all, is
joined by the point-in-time rule; `<view>__logged` says of each sample which of the two it has.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from headrace.clock import ONE_US
from headrace.definitions.sample_set import LOG_COLUMNS, SampleSet
from headrace.definitions.stream import COORDINATES
from headrace.engines.dialect import Dialect
from headrace.identifiers import quote, quote_text
from headrace.samples.key_types import key_type_problems
from headrace.tables.version import TableVersion

_TIME = pa.timestamp("us", tz="UTC")
_TEXTS = ("values", "views", "sample_set")


@dataclass(frozen=True, kw_only=True)
class ServedLog:
    """The log of a recipe; `order` is the arrival of its rows."""

    table: str
    key: str
    within_us: int
    order: tuple[str, ...]

    @property
    def reads(self) -> tuple[str, ...]:
        """The columns that it reads."""
        return (*LOG_COLUMNS, self.key, *self.order)


@dataclass(frozen=True, kw_only=True)
class ServedView:
    """What a recipe takes of one view: its `columns` in a sample, and those of the row used, if any."""

    view: str
    name: str
    columns: tuple[str, ...]
    times: Mapping[str, str]  # `event_time` and `known_at` of the row by their names in a sample

    @property
    def mark(self) -> str:
        """The column that says whether a sample has the values of the log."""
        return f"{self.name}__logged"


def served_log_of(
    sample_set: SampleSet, *, arrival: Mapping[str, tuple[str, ...]]
) -> ServedLog | None:
    """Fill in what the declaration leaves to the log's table; None if the sample set has no log."""
    logged = sample_set.logged
    if logged is None:
        return None
    return ServedLog(
        table=str(logged.log),
        key=sample_set.log_key,
        within_us=logged.within // ONE_US,
        order=arrival[str(logged.log)],
    )


def log_problems(sample_set: SampleSet, versions: Mapping[str, TableVersion]) -> Iterator[str]:
    """Yield what in the table of the log is not as a serving log has it."""
    logged = sample_set.logged
    if logged is None:
        return
    schema = versions[str(logged.log)].schema
    where = f"sample set `{sample_set.name}`"
    for name in (*LOG_COLUMNS, sample_set.log_key, *COORDINATES.names[:1]):
        if name not in schema.names:
            there = ", ".join(f"`{column}`" for column in schema.names)
            yield f"{where}: the log `{logged.log}` has no column `{name}`; it has {there}"
        elif name in _TEXTS and schema.field(name).type != pa.string():
            yield f"{where}: `{name}` of the log `{logged.log}` is {schema.field(name).type}, no text"
    seen, log = versions[str(sample_set.exposures.table)], versions[str(logged.log)]
    yield from key_type_problems(where, seen, sample_set.exposures.id, log, sample_set.log_key)


def answers_sql(
    log: ServedLog, rows: str, *, exposures: str, sample_set: str, dialect: Dialect
) -> str:
    """Render the answer that each exposure was given, if there is one: `sample_id, vals, views`.

    `rows` is a relation with the rows of the log, `exposures` one with `sample_id` and `event_time`.
    """
    shown, served = dialect.epoch_us("e.event_time"), dialect.epoch_us("l.event_time")
    order = ["l.event_time desc", *(f"l.{quote(name)}" for name in log.order)]
    return (
        "select sample_id, vals, views from (select e.sample_id, "
        f'l."values" as vals, l."views" as views, row_number() over (partition by e.sample_id '
        f"order by {', '.join(order)}) as nth from {exposures} e "
        f"join {rows} l on l.{quote(log.key)} = e.sample_id "
        f'and l.sample_set = {quote_text(sample_set)} and l."at" <= e.event_time '
        f"and {served} <= {shown} and {served} >= {shown} - {log.within_us}) answered where nth = 1"
    )


def preferred(
    used: ServedView, step: str, kinds: pa.Schema, *, dialect: Dialect
) -> Sequence[tuple[str, str]]:
    """Render each column of a view, of the answer where it has all of them, else of the join's `step`.

    Args:
        used: The view.
        step: The relation of the join.
        kinds: The types of the samples' columns.
        dialect: The engine's.

    Returns:
        Expressions over `step` and the relation `answer`, each with its column.

    """
    has = [dialect.has_json("answer.views", (used.view,))]
    has += [dialect.has_json("answer.vals", (name,)) for name in used.columns]
    there = f"coalesce({' and '.join(has)}, false)"
    fresh = dialect.json_as("answer.views", (used.view, "status"), pa.string())
    said = {
        name: dialect.json_as("answer.vals", (name,), kinds.field(name).type)
        for name in used.columns
    }
    for name, time in used.times.items():
        moment = dialect.json_as("answer.views", (used.view, time), _TIME)
        said[name] = f"case when {fresh} = 'fresh' then {moment} end"
    columns = [
        (f"case when {there} then {value} else {step}.{quote(name)} end", name)
        for name, value in said.items()
    ]
    return [*columns, (there, used.mark)]
