"""The feature table of a window view: its values at the ends of tiles, as they were known then.

A row says what the view answers at `event_time`, an end of a tile: what happened and was known before; its
`known_at` is the same moment. There is one for each end of a tile at which an entity's values may change:
at which an event enters, after the tile in which it became known, or leaves a window. So a late event
makes rows from when it was known, and no row is ever wrong: a look-up finds the view's values at the newest
end of a tile before its moment.
"""

from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property

import pyarrow as pa

from headrace.definitions.feature_view import FeatureView
from headrace.definitions.properties import FEATURE_VIEW_PROPERTY
from headrace.definitions.stream import EVENT_TIME, KNOWN_AT, Stream
from headrace.definitions.windows import Windows
from headrace.identifiers import TableName

SUFFIX = "_rows"
# of windows that Flink's SQL sums: it copies an entity's events of one tile to each
TILES_MAX = 1024
# how far apart rows of one snapshot may be known, where they are known when they are ingested
_INGESTED_DISORDER = timedelta(seconds=10)
_MS = 1000


def disorder_of(stream: Stream) -> timedelta:
    """Return by how much an event may be known before others that came into the table earlier."""
    return _INGESTED_DISORDER if stream.known_at.ingested else stream.allowed_lateness


def ahead_of(stream: Stream) -> timedelta:
    """Return by how much later than it comes into the table an event may be known, as its contract says."""
    return stream.known_at.after_event or timedelta(0)


@dataclass(frozen=True, kw_only=True)
class WindowRows:
    """A window view with what its rows take from the stream of its events.

    Args:
        windows: The view.
        entity_types: The types of the entity columns.
        disorder: By how much an event may be known before others that came into the table earlier.
        ahead: By how much later than it comes into the table an event may be known.
        skew: By how much the clock may be wrong by which events are known.

    """

    windows: Windows
    entity_types: tuple[pa.DataType, ...]
    disorder: timedelta
    ahead: timedelta
    skew: timedelta

    @classmethod
    def of(cls, windows: Windows, stream: Stream) -> "WindowRows":
        """Take from a stream what it says of its events."""
        schema = stream.table_schema()
        types = tuple(schema.field(name).type for name in windows.entity)
        return cls(
            windows=windows,
            entity_types=types,
            disorder=disorder_of(stream),
            ahead=ahead_of(stream),
            skew=stream.allowed_clock_skew,
        )

    @property
    def table(self) -> TableName:
        """The name of the feature table: a table of the view's own name would hide the view."""
        return TableName.parse(f"{self.windows.view}{SUFFIX}")

    @property
    def disorder_ms(self) -> int:
        """By how much an event may be known before others that came into the table earlier."""
        return self.disorder // timedelta(milliseconds=1)

    @property
    def hop_ms(self) -> int:
        """The length of a tile."""
        return self.windows.hop_us // _MS

    @property
    def longest_ms(self) -> int:
        """The longest window."""
        return self.windows.longest_us // _MS

    @cached_property
    def window_ms(self) -> tuple[int, ...]:
        """The lengths of the windows, each once."""
        return tuple(sorted({column.window_us // _MS for column in self.windows.columns}))

    @property
    def reach_ms(self) -> int:
        """How long before a moment events may have happened that matter to rows known after it."""
        return self.longest_ms + 2 * self.hop_ms

    def schema(self) -> pa.Schema:
        """Return the columns of the table; entity and times are required."""
        pairs = zip(self.windows.entity, self.entity_types, strict=True)
        keys = [pa.field(name, kind, nullable=False) for name, kind in pairs]
        time = pa.timestamp("us", tz="UTC")
        times = [pa.field(name, time, nullable=False) for name in (EVENT_TIME, KNOWN_AT)]
        return pa.schema([*keys, *times, *self.windows.schema()])

    def properties(self) -> dict[str, str]:
        """Return the properties in which the table describes itself."""
        view = FeatureView(view=self.table, entity=self.windows.entity)
        return {FEATURE_VIEW_PROPERTY: view.to_property()}
