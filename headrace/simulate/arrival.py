"""The arrival of events in the log: late, twice, or malformed, in order of arrival."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from headrace.simulate.draws import Draws, Flags, Ints, Quantiles, joined
from headrace.simulate.plan import DAY_US, HOUR_US, LATE_AFTER_US, MINUTE_US, SECOND_US, Rates

# Names in the truth; the position is the code in `Arrivals.kind`, 0 is a sound record.
KINDS = ("", "broken", "missing_field", "wrong_type", "naive_time")

ON_TIME = Quantiles(
    (0, SECOND_US // 5),
    (500_000, 3 * SECOND_US // 2),
    (900_000, 5 * SECOND_US),
    (990_000, 20 * SECOND_US),
    (1_000_000, 50 * SECOND_US),
)
STATE_ON_TIME = Quantiles(
    (0, SECOND_US // 2),
    (500_000, 15 * SECOND_US),
    (900_000, 40 * SECOND_US),
    (1_000_000, 59 * SECOND_US),
)
_LATE = Quantiles(
    (0, LATE_AFTER_US),
    (300_000, 5 * MINUTE_US),
    (600_000, 30 * MINUTE_US),
    (800_000, 2 * HOUR_US),
    (950_000, 8 * HOUR_US),
    (1_000_000, DAY_US),
)
_RESEND = Quantiles(
    (0, SECOND_US), (500_000, 2 * MINUTE_US), (900_000, HOUR_US), (1_000_000, 6 * HOUR_US)
)


@dataclass(frozen=True, kw_only=True)
class Arrivals:
    """Records in transit: the first copy of every event in order, then the second copies.

    `event` is the row of the record's event. A malformed event has one copy only, so it never gets
    into a table.
    """

    event: Ints
    received_at: Ints
    kind: Ints
    events: int

    @property
    def first_received_at(self) -> Ints:
        """When the first copy of each event arrived."""
        return self.received_at[: self.events]

    @property
    def sound(self) -> Flags:
        """Which events arrive well-formed."""
        return self.kind[: self.events] == 0


def lags(draws: Draws, rates: Rates, *, on_time: Quantiles, size: int) -> Ints:
    """Draw the delays of events; late ones take a minute to a day."""
    late = draws.chance(rates.late_ppm, size=size)
    return np.where(
        late, draws.quantile(_LATE, size=size), draws.quantile(on_time, size=size)
    ).astype(np.int64)


def arrive(draws: Draws, rates: Rates, *, received_at: Ints) -> Arrivals:
    """Make some events malformed and duplicate some of the others."""
    size = received_at.size
    kind = 1 + draws.below(len(KINDS) - 1, size=size)
    kind = np.where(draws.chance(rates.malformed_ppm, size=size), kind, 0).astype(np.int64)
    again = np.flatnonzero(draws.chance(rates.duplicate_ppm, size=size) & (kind == 0))
    resent_at = received_at[again] + draws.quantile(_RESEND, size=again.size)
    return Arrivals(
        event=joined((np.arange(size, dtype=np.int64), again)),
        received_at=joined((received_at, resent_at)),
        kind=joined((kind, np.zeros_like(again))),
        events=size,
    )


class TimeQueue:
    """Buffers rows and returns them in order of a time column.

    Rows of equal time keep the order they were pushed in. It only buffers rows beyond the horizon:
    the late part of about an hour of traffic.
    """

    def __init__(self, time: str) -> None:
        self._time = time
        self._waiting: pa.Table | None = None

    def push_and_pop(self, rows: pa.Table, *, before_us: int | None) -> pa.Table:
        """Add rows; remove and return those with a time below `before_us`, all if None."""
        if self._waiting is not None:
            rows = pa.concat_tables([self._waiting, rows])
        times = rows.column(self._time).to_numpy()
        order = np.argsort(times, kind="stable")
        cut = order.size
        if before_us is not None:
            cut = int(np.searchsorted(times[order], before_us))
        self._waiting = rows.take(pa.array(order[cut:])).combine_chunks()
        return rows.take(pa.array(order[:cut])).combine_chunks()
