"""The truth: what serving knew at each impression, its labels, and which records are malformed.

Computed by replaying arrivals per user, as a serving process would see them: without joins, SQL or
any code shared with what it is compared to.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from headrace.simulate.arrival import KINDS, Arrivals
from headrace.simulate.draws import PPM, Flags, Ints
from headrace.simulate.plan import CLICK_WINDOW_US, LATE_AFTER_US, LONG_WATCH_WINDOW_US
from headrace.simulate.plan import STATE_TTL_US as TTL_US
from headrace.simulate.traffic import FIRST_USER, Slice
from headrace.simulate.write import Landing

NEVER = np.iinfo(np.int64).max
_TIME = pa.timestamp("us", tz="UTC")
_IMPRESSIONS = pa.schema(
    [
        pa.field("impression_id", pa.string(), nullable=False),
        pa.field("event_time", _TIME, nullable=False),
        pa.field("known_at", _TIME, nullable=False),
        pa.field("user_id", pa.int64(), nullable=False),
        pa.field("user_state__event_time", _TIME),
        pa.field("user_state__known_at", _TIME),
        pa.field("sessions_7d", pa.int64()),
        pa.field("watch_seconds_7d", pa.int64()),
        pa.field("click_probability", pa.float64(), nullable=False),
        pa.field("click", pa.int32(), nullable=False),
        pa.field("click_at", _TIME),
        pa.field("long_watch", pa.int32(), nullable=False),
        pa.field("long_watch_at", _TIME),
    ]
)
_DEAD_LETTERS = pa.schema(
    [
        pa.field("stream", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
    ]
)


@dataclass(kw_only=True)
class StreamCounts:
    """Records of one stream: `records` = `distinct` + `duplicates` + `malformed`.

    `late` counts the distinct events whose first copy took a minute or longer.
    """

    records: int = 0
    distinct: int = 0
    duplicates: int = 0
    late: int = 0
    malformed: int = 0

    def add(self, arrivals: Arrivals, happened_at: Ints) -> None:
        """Count the arrivals of one slice."""
        sound = arrivals.sound
        lag = arrivals.first_received_at - happened_at
        self.records += arrivals.event.size
        self.distinct += int(sound.sum())
        self.duplicates += arrivals.event.size - arrivals.events
        self.malformed += arrivals.events - int(sound.sum())
        self.late += int((sound & (lag >= LATE_AFTER_US)).sum())


class ServingMemory:
    """What serving knows about each user: the newest row that has arrived."""

    def __init__(self, users: int) -> None:
        self._as_of = np.full(users, -NEVER, dtype=np.int64)
        self._known_at = np.zeros(users, dtype=np.int64)
        self._sessions = np.zeros(users, dtype=np.int64)
        self._seconds = np.zeros(users, dtype=np.int64)

    def replay(self, asked: pa.Table, arrived: pa.Table) -> dict[str, Ints]:
        """Answer the questions `asked`, taking in the rows that `arrived` in between.

        An arriving row replaces the known one unless its `as_of` is older; a row of equal `as_of`
        replaces it too, because it arrived or was sent later. A row that arrives exactly at the
        time of a question does not count for it. Both tables are in order of time and between the
        previous call and the next.
        """
        questions = asked.num_rows
        if not questions + arrived.num_rows:
            return {name: np.zeros(0, dtype=np.int64) for name in ("as_of", "known_at", "s", "w")}
        user = _column(asked, arrived, "user")
        moment = np.concatenate([_ints(asked, "event_time"), _ints(arrived, "received_at")])
        order = np.lexsort((np.arange(moment.size) >= questions, moment, user))
        people, member = np.unique(user[order], return_inverse=True)
        starts = np.flatnonzero(np.diff(member, prepend=-1))

        # Rank rows by as_of per user; questions rank lowest, the memory comes before all rows.
        as_of = np.concatenate([np.full(questions, -NEVER), _ints(arrived, "as_of")])[order]
        lesson = order >= questions
        remembered = self._as_of[people][member]
        best = _running_best(as_of, member=member, remembered=remembered, lesson=lesson)
        best = np.where(best >= starts[member], best, -1)
        held = np.stack([_ints(arrived, name) for name in ("as_of", "received_at", "s", "w")])
        before = (self._as_of, self._known_at, self._sessions, self._seconds)
        answers: list[Ints] = []
        ends = np.append(starts[1:], order.size) - 1
        for column, memory in zip(held, before, strict=True):
            values = np.where(best >= 0, 0, memory[people][member])
            values[best >= 0] = column[order[best[best >= 0]] - questions]
            answer = np.empty(questions, dtype=np.int64)
            answer[order[~lesson]] = values[~lesson]
            answers.append(answer)
            memory[people] = values[ends]
        return dict(zip(("as_of", "known_at", "s", "w"), answers, strict=True))


def _running_best(as_of: Ints, *, member: Ints, remembered: Ints, lesson: Flags) -> Ints:
    """Return for each row the last row so far that is not older than all before it and the memory.

    Rows are grouped by `member`; if a user has no such row yet, the result is a row of another.
    """
    # An offset per user makes a single running maximum work for all users.
    distinct = np.unique(np.concatenate([as_of, remembered]))
    rank, floor = np.searchsorted(distinct, as_of), np.searchsorted(distinct, remembered)
    height = member * distinct.size + np.maximum(rank, floor)
    record = lesson & (rank >= floor) & (np.maximum.accumulate(height) == height)
    return np.maximum.accumulate(np.where(record, np.arange(as_of.size), -1))


class Truth:
    """Writes `truth/` slice by slice; `counts.json` comes last and marks the rest as complete."""

    def __init__(self, folder: Path, *, users: int) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self._memory = ServingMemory(users)
        self._impressions = pq.ParquetWriter(folder / "impressions.parquet", _IMPRESSIONS)
        self._dead_letters = pq.ParquetWriter(folder / "dead_letters.parquet", _DEAD_LETTERS)

    def impressions(self, asked: pa.Table, arrived: pa.Table) -> None:
        """Write impressions for which all earlier arrivals are known."""
        known = self._memory.replay(asked, arrived)
        if not asked.num_rows:
            return
        unknown = known["as_of"] < _ints(asked, "event_time") - TTL_US
        columns = [
            pc.binary_join_element_wise("sim/", pc.cast(asked.column("number"), pa.string()), ""),
            pa.array(_ints(asked, "event_time"), _TIME),
            pa.array(_ints(asked, "known_at"), _TIME),
            pa.array(_ints(asked, "user") + FIRST_USER),
            pa.array(known["as_of"], _TIME, mask=unknown),
            pa.array(known["known_at"], _TIME, mask=unknown),
            pa.array(known["s"], mask=unknown),
            pa.array(known["w"], mask=unknown),
            pa.array(_ints(asked, "click_chance") / (PPM * PPM)),
        ]
        for name in ("click_at", "long_watch_at"):
            moment = _ints(asked, name)
            columns += [
                pa.array((moment < NEVER).astype(np.int32)),
                pa.array(moment, _TIME, mask=moment == NEVER),
            ]
        self._impressions.write_table(pa.Table.from_arrays(columns, schema=_IMPRESSIONS))

    def dead_letters(self, stream: str, kinds: Ints, landings: Sequence[Landing]) -> None:
        """Write the positions of the malformed records among those just written."""
        found: list[tuple[str, str, int, str]] = []
        first = 0
        for landing in landings:
            bad = np.flatnonzero(kinds[first : first + landing.rows])
            found += [
                (stream, landing.source, landing.offset + row, KINDS[int(kinds[first + row])])
                for row in bad.tolist()
            ]
            first += landing.rows
        if found:
            columns = [list(column) for column in zip(*found, strict=True)]
            self._dead_letters.write_table(pa.table(columns, schema=_DEAD_LETTERS))

    def close(self) -> None:
        """Finish the two Parquet files."""
        self._impressions.close()
        self._dead_letters.close()

    def counts(self, counts: Mapping[str, StreamCounts]) -> None:
        """Write `counts.json`."""
        text = json.dumps({name: asdict(count) for name, count in counts.items()}, indent=2)
        path = self._folder / "counts.json"
        path.write_text(text + "\n", encoding="utf-8", newline="\n")


def labels(traffic: Slice, clicks: Arrivals, watches: Arrivals) -> dict[str, Ints]:
    """Return the earliest label event inside each impression's window, else `NEVER`."""
    shown_at = traffic.impressions.shown_at
    found: dict[str, Ints] = {}
    for name, window_us, row, moment, arrivals in (
        ("click_at", CLICK_WINDOW_US, traffic.clicks.row, traffic.clicks.clicked_at, clicks),
        (
            "long_watch_at",
            LONG_WATCH_WINDOW_US,
            traffic.watches.row,
            traffic.watches.watched_at,
            watches,
        ),
    ):
        since = moment - shown_at[row]
        counted = arrivals.sound & (since >= 0) & (since < window_us)
        earliest = np.full(shown_at.size, NEVER, dtype=np.int64)
        np.minimum.at(earliest, row[counted], moment[counted])
        found[name] = earliest
    return found


def _ints(table: pa.Table, name: str) -> Ints:
    return table.column(name).to_numpy()


def _column(first: pa.Table, second: pa.Table, name: str) -> Ints:
    return np.concatenate([_ints(first, name), _ints(second, name)])
