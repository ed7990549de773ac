"""Days and spans of time, as builds cut them and as SQL reads them; all UTC."""

import datetime as dt
from dataclasses import dataclass

_DAY = dt.timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class Span:
    """From `first` (None: since ever) up to, not including, `end`."""

    first: dt.datetime | None
    end: dt.datetime

    @classmethod
    def of_day(cls, day: dt.date) -> "Span":
        """The instants of one UTC day."""
        return cls(first=start_of(day), end=start_of(day + _DAY))

    def touches(self, day: dt.date) -> bool:
        """Whether some instant of `day` lies in the span."""
        after_start = self.first is None or self.first < start_of(day + _DAY)
        return after_start and start_of(day) < self.end

    def condition_sql(self, column: str) -> str:
        """Render the condition that `column`, quoted already, lies in the span."""
        before = f"{column} < {instant_sql(self.end)}"
        return (
            before if self.first is None else f"{column} >= {instant_sql(self.first)} and {before}"
        )


def start_of(day: dt.date) -> dt.datetime:
    """The first instant of a UTC day."""
    return dt.datetime(day.year, day.month, day.day, tzinfo=dt.UTC)


def instant_sql(moment: dt.datetime) -> str:
    """Render an instant as a literal of DuckDB and Trino."""
    return f"timestamp with time zone '{moment.astimezone(dt.UTC):%Y-%m-%d %H:%M:%S.%f}+00:00'"
