"""Reads a raw stream without what its producers sent twice: the staging that no model has to write.

The rule is that of the macro `first_arrivals`: of the rows of one key whose event times are at most
24 hours apart, the first to arrive. Arrival is the order of `(known_at, row coordinates)`. Copies further
apart are two events. A sample set that names a staging model instead reads what that decides.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta

from headrace.clock import ONE_US
from headrace.definitions.sample_set import SampleSet
from headrace.definitions.stream import EVENT_TIME, KNOWN_AT, Stream
from headrace.engines.dialect import Dialect
from headrace.identifiers import TableName, quote
from headrace.samples.times import Span

WITHIN = timedelta(hours=24)


@dataclass(frozen=True, kw_only=True)
class Repeats:
    """A stream's table in which rows of one `key` may be repeated; `arrival` orders them.

    With `told`, records say themselves when they were known, so that one that is committed later may
    be the first to arrive.
    """

    table: str
    key: str
    arrival: tuple[str, ...]
    told: bool = False

    @property
    def reads(self) -> tuple[str, ...]:
        """The columns that tell repeats apart."""
        return (self.key, EVENT_TIME, KNOWN_AT, *self.arrival)


def repeats_of(
    sample_set: SampleSet, streams: Iterable[Stream], *, arrival: Mapping[str, tuple[str, ...]]
) -> Iterator[Repeats]:
    """Yield the tables of a sample set that are read without repeats; `arrival` is the order of each.

    Those of declared streams with a `key`: its exposures if the key is their id, and its labels.
    """
    exposures = sample_set.exposures
    labels = {label.stream for label in sample_set.labels}
    for stream in streams:
        key = None if stream.key is None else stream.column_of(stream.key)
        shown = stream.table == exposures.table and (key, EVENT_TIME) == (
            exposures.id,
            exposures.at,
        )
        order = arrival.get(str(stream.table), ())
        if key is not None and order and (shown or stream.table in labels - {exposures.table}):
            told = stream.known_at.column is not None
            yield Repeats(table=str(stream.table), key=key, arrival=order, told=told)


def first_arrivals_sql(repeats: Repeats, span: Span, *, dialect: Dialect) -> str:
    """Render the rows of a span that no earlier arrival repeats, as a relation.

    It has the columns of the table and some of its own, whose names begin with `repeat_`.
    """
    key, within_us = quote(repeats.key), WITHIN // ONE_US
    first = None if span.first is None else span.first - WITHIN
    wider = Span(first=first, end=span.end + WITHIN)
    order = ", ".join(quote(name) for name in (KNOWN_AT, *repeats.arrival))
    numbered = (
        f"select *, {dialect.epoch_us(EVENT_TIME)} as repeat_us, "
        f"row_number() over (partition by {key} order by {order}) as repeat_nth, "
        f"count(*) over (partition by {key}) as repeat_copies "
        f"from {TableName.parse(repeats.table).sql} "
        f"where {wider.condition_sql(EVENT_TIME, dialect=dialect)}"
    )
    copies = (
        f"select distinct b.{key} as repeat_key, b.repeat_nth as repeat_of from numbered b "
        f"join numbered a on a.{key} = b.{key} and a.repeat_nth < b.repeat_nth "
        f"and b.repeat_us - a.repeat_us between -{within_us} and {within_us} "
        "where a.repeat_copies > 1 and b.repeat_copies > 1"
    )
    return (
        f"(with {dialect.step_once('numbered', numbered)}, copies as ({copies}) "
        f"select n.* from numbered n left join copies c "
        f"on c.repeat_key = n.{key} and c.repeat_of = n.repeat_nth "
        f"where c.repeat_of is null and {span.condition_sql(f'n.{EVENT_TIME}', dialect=dialect)})"
    )
