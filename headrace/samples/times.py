"""Days and spans of time in UTC, and their conditions in SQL."""

import datetime as dt
from dataclasses import dataclass

from headrace.clock import ONE_DAY
from headrace.engines.dialect import Dialect


@dataclass(frozen=True, kw_only=True)
class Span:
    """From `first` up to, not including, `end`; without `first` it has no beginning."""

    first: dt.datetime | None
    end: dt.datetime

    @classmethod
    def of_day(cls, day: dt.date) -> "Span":
        """The instants of one UTC day."""
        return cls(first=start_of(day), end=start_of(day + ONE_DAY))

    def touches(self, day: dt.date) -> bool:
        """Whether some instant of `day` lies in the span."""
        after_start = self.first is None or self.first < start_of(day + ONE_DAY)
        return after_start and start_of(day) < self.end

    def condition_sql(self, column: str, *, dialect: Dialect) -> str:
        """Render the condition that `column`, already quoted, lies in the span."""
        before = f"{column} < {dialect.literal(self.end)}"
        if self.first is None:
            return before
        return f"{column} >= {dialect.literal(self.first)} and {before}"


def start_of(day: dt.date) -> dt.datetime:
    """The first instant of a UTC day."""
    return dt.datetime(day.year, day.month, day.day, tzinfo=dt.UTC)
