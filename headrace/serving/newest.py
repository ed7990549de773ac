"""Renders the newest known row of each entity of a bound feature view as SQL."""

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from headrace.clock import ONE_DAY
from headrace.definitions.feature_view import FeatureView
from headrace.engines.dialect import Dialect, FirstOfKey
from headrace.identifiers import quote
from headrace.samples.resolve import arrival_order

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
    dialect: Dialect

    def sql(self, *, spans: Sequence[Span] | None = None, among: str | None = None) -> str:
        """Select `event_time, known_at`, the entity and the values, one row an entity.

        Args:
            spans: Only rows that happened in one of them.
            among: Only entities that this relation lists.

        """
        declared = self.declared
        entity = [quote(name) for name in declared.entity]
        columns = [(self._event_time, "event_time"), (self._known_at, "known_at")]
        columns += [(name, name) for name in (*entity, *map(quote, self.columns))]
        said = {*declared.entity, declared.event_time, declared.known_at}
        rest = [name for name in self.names if name not in said] or declared.entity
        arrival = arrival_order(self.names) or rest
        order = [f"{self._event_time} desc", f"{self._known_at} desc"]
        order += [f"{quote(name)} desc nulls last" for name in arrival]
        where = f"{self._present(spans)} and {self._known_at} < {self._as_of}"
        if among is not None:
            same = " and ".join(f"a.{name} = {quote(self.relation)}.{name}" for name in entity)
            where += f" and exists (select 1 from {quote(among)} a where {same})"
        rows = FirstOfKey(
            columns=columns,
            relation=quote(self.relation),
            where=where,
            keys=entity,
            order=order,
        )
        return self.dialect.first_of_key(rows)

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
            f" where {self._present(spans)} and {self._known_at} >= {self._as_of}"
            " order by day"
        )

    @property
    def _event_time(self) -> str:
        return quote(self.declared.event_time)

    @property
    def _known_at(self) -> str:
        delayed = self.dialect.shifted(self._event_time, self.declared.delay)
        return f"greatest({quote(self.declared.known_at)}, {delayed})"

    @property
    def _as_of(self) -> str:
        return self.dialect.literal(self.as_of)

    def _present(self, spans: Sequence[Span] | None) -> str:
        names = (*self.declared.entity, self.declared.event_time, self.declared.known_at)
        kept = [f"{quote(name)} is not null" for name in names]
        if spans is not None:
            ranges = (
                # literals, so that the engine skips files of other days
                f"({self._event_time} >= {self.dialect.literal(first)}"
                f" and {self._event_time} < {self.dialect.literal(end)})"
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
        first, end = start if first is None else first, start + ONE_DAY
    if first is not None and end is not None:
        yield first, end
