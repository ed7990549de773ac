"""The plan of a simulation: sizes, rates, and the distribution of impressions over time."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US

START = datetime(2026, 1, 5, tzinfo=UTC)
CLICK_WINDOW_US = 30 * MINUTE_US
LONG_WATCH_WINDOW_US = 4 * HOUR_US
STATE_TTL_US = 7 * DAY_US
LATE_AFTER_US = MINUTE_US  # on-time events arrive sooner than this, late ones never do

CAMPAIGNS = ("home", "search")
PAGE_SIZES = (8, 5)
_USERS_MAX = 1_000_000
_SLICE_IMPRESSIONS = 65_536
# Traffic by hour of day (UTC), per mille of the day's peak: a quiet night, a long evening.
_NIGHT_AND_MORNING = "310 220 160 120 110 130 210 340 460 540 580 610"
_DAY_AND_EVENING = "650 640 600 590 620 690 780 880 960 1000 850 560"
_HOURS = tuple(int(hour) for hour in f"{_NIGHT_AND_MORNING} {_DAY_AND_EVENING}".split())


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Rates of faults in the log, in events per million."""

    duplicate_ppm: int = 20_000
    late_ppm: int = 50_000
    malformed_ppm: int = 1_000


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A stretch of time and how many impressions fall into it."""

    start_us: int
    width_us: int
    impressions: int


@dataclass(frozen=True, kw_only=True)
class SlicePlan:
    """Consecutive cells of one day, generated together from one random stream."""

    number: int
    day: int
    cells: tuple[Cell, ...]

    @property
    def start_us(self) -> int:
        """The earliest event time of the slice, except for the history of slice 0."""
        return self.cells[0].start_us

    @property
    def impressions(self) -> int:
        """How many impressions the slice holds, exactly."""
        return sum(cell.impressions for cell in self.cells)


@dataclass(frozen=True, kw_only=True)
class SimulationPlan:
    """Everything the output depends on: equal plans give equal bytes.

    Raises:
        ValueError: If a size is not positive, the seed is negative, or files are too many.

    """

    impressions: int
    seed: int
    days: int = 7
    files_per_stream: int | None = None
    rates: Rates = field(default_factory=Rates)

    def __post_init__(self) -> None:
        for name in ("impressions", "days"):
            if getattr(self, name) < 1:
                msg = f"`{name}` is {getattr(self, name)}, but must be at least 1"
                raise ValueError(msg)
        if self.seed < 0:
            msg = f"`seed` is {self.seed}, but must not be negative"
            raise ValueError(msg)
        most = self.days * DAY_US // SECOND_US
        if self.files_per_stream is not None and not 1 <= self.files_per_stream <= most:
            msg = (
                f"`files_per_stream` is {self.files_per_stream}, but must be from 1 to {most:,}, "
                "one file a second"
            )
            raise ValueError(msg)

    @property
    def start_us(self) -> int:
        """When the traffic starts, µs since 1970."""
        return int(START.timestamp()) * SECOND_US

    @property
    def users(self) -> int:
        """The number of users; capped to bound memory."""
        return min(max(self.impressions // 60, 20), _USERS_MAX)

    @property
    def items(self) -> int:
        """How many items each campaign has."""
        return min(max(self.impressions // 400, 50), 20_000)

    @property
    def landing_us(self) -> int:
        """The time span of arrivals in one file, in µs, whole seconds."""
        files = 24 * self.days if self.files_per_stream is None else self.files_per_stream
        return -(-self.days * DAY_US // files // SECOND_US) * SECOND_US

    def slices(self) -> Iterator[SlicePlan]:
        """Split the time into slices of about equal work, in order; their sum is exact."""
        parts = self._parts_per_hour()
        width, number, done, weight = HOUR_US // parts, 0, 0, 0
        total = sum(_HOURS) * parts * self.days
        for day in range(self.days):
            cells: list[Cell] = []
            held = 0
            for index in range(24 * parts):
                weight += _HOURS[index // parts]
                count = self.impressions * weight // total - done
                done += count
                if cells and held + count > _SLICE_IMPRESSIONS:
                    yield SlicePlan(number=number, day=day, cells=tuple(cells))
                    number, held, cells = number + 1, 0, []
                start_us = self.start_us + day * DAY_US + index * width
                cells.append(Cell(start_us=start_us, width_us=width, impressions=count))
                held += count
            yield SlicePlan(number=number, day=day, cells=tuple(cells))
            number += 1

    def _parts_per_hour(self) -> int:
        """The number of cells per hour; a divisor of 3,600, so that cells are exact."""
        peak = self.impressions * max(_HOURS) // (sum(_HOURS) * self.days) + 1
        wanted = -(-peak // _SLICE_IMPRESSIONS)
        return next((parts for parts in range(wanted, 3601) if 3600 % parts == 0), 3600)
