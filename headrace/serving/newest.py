"""Renders the newest known row of each entity of a bound feature view as SQL (DuckDB)."""

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from headrace.definitions.feature_view import FeatureView
from headrace.identifiers import quote
from headrace.samples.resolve import arrival_order
from headrace.serving.store import epoch_us

_DAY = dt.timedelta(days=1)
Span = tuple[dt.datetime, dt.datetime]


@dataclass(frozen=True, kw_only=True)
class NewestRows:
    """The rows of a view that were known before `as_of`.

    Newest is the greatest `(event_time, known_at, arrival)`; ties are broken as the point-in-time
    join breaks them. `names` are the view's columns, `columns` those that are published.
    """

    relation: str
    declared: FeatureView
    names: Sequence[str]
    columns: Sequence[str]
    as_of: dt.datetime

    def sql(self, *, spans: Sequence[Span] | None = None, among: str | None = None) -> str:
        """Select `event_time, known_at`, the entity and the values, one row an entity.

        Args:
            spans: Only rows that happened in one of them.
            among: Only entities that this relation lists.

        """
        declared = self.declared
        entity = ", ".join(map(quote, declared.entity))
        values = "".join(f", {quote(name)}" for name in self.columns)
        said = {*declared.entity, declared.event_time, declared.known_at}
        rest = [name for name in self.names if name not in said] or declared.entity
        arrival = arrival_order(self.names) or rest
        order = ", ".join(f"{quote(name)} desc nulls last" for name in arrival)
        chosen = "" if among is None else f" and ({entity}) in (select {entity} from {among})"
        return (
            f"select {self._event_time} as event_time, {self._known_at} as known_at,"
            f" {entity}{values} from {quote(self.relation)}"
            f" where {self._present(spans)} and {self._known_at} < {_timestamp(self.as_of)}{chosen}"
            f" qualify row_number() over (partition by {entity}"
            f" order by {self._event_time} desc, {self._known_at} desc, {order}) = 1"
        )

    def receded_sql(self, *, stored: str, spans: Sequence[Span]) -> str:
        """Select the entities of `stored` whose newest row in the spans is now older, or gone.

        `stored` has the entity, `event_time` and `known_at` of rows that happened in the spans.
        """
        entity = ", ".join(f"s.{quote(name)}" for name in self.declared.entity)
        same = " and ".join(f"n.{quote(name)} = s.{quote(name)}" for name in self.declared.entity)
        times = replace(self, columns=())
        return (
            f"select {entity} from {stored} s left join ({times.sql(spans=spans)}) n on {same}"
            " where n.event_time is null or n.event_time < s.event_time"
            " or (n.event_time = s.event_time and n.known_at < s.known_at)"
        )

    def held_back_sql(self, *, spans: Sequence[Span] | None) -> str:
        """Select the days with rows that are not known yet."""
        return (
            f"select distinct cast({self._event_time} as date) as day from {quote(self.relation)}"
            f" where {self._present(spans)} and {self._known_at} >= {_timestamp(self.as_of)}"
            " order by day"
        )

    @property
    def _event_time(self) -> str:
        return quote(self.declared.event_time)

    @property
    def _known_at(self) -> str:
        delay_us = self.declared.delay // dt.timedelta(microseconds=1)
        delayed = f"{self._event_time} + interval '{delay_us}' microsecond"
        return f"greatest({quote(self.declared.known_at)}, {delayed})"

    def _present(self, spans: Sequence[Span] | None) -> str:
        names = (*self.declared.entity, self.declared.event_time, self.declared.known_at)
        kept = [f"{quote(name)} is not null" for name in names]
        if spans is not None:
            ranges = (
                # literals, so that the engine skips files of other days
                f"({self._event_time} >= timestamptz '{first.date()} 00:00:00+00'"
                f" and {self._event_time} < timestamptz '{end.date()} 00:00:00+00')"
                for first, end in spans
            )
            kept.append(f"({' or '.join(ranges) or 'false'})")
        return " and ".join(kept)


def spans_of(days: Sequence[dt.date]) -> tuple[Span, ...]:
    """Join days, in order, to spans from the start of the first to the end of the last."""
    return tuple(_spans(days))


def _spans(days: Sequence[dt.date]) -> Iterator[Span]:
    first = end = None
    for day in days:
        start = dt.datetime.combine(day, dt.time(), dt.UTC)
        if first is not None and end is not None and start != end:
            yield first, end
            first = None
        first, end = start if first is None else first, start + _DAY
    if first is not None and end is not None:
        yield first, end


def _timestamp(moment: dt.datetime) -> str:
    return f"make_timestamptz({epoch_us(moment)})"
