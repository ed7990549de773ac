"""Replays the log of a window view: its windows at each moment, from the events that there are by now."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from headrace.definitions.stream import EVENT_TIME, KNOWN_AT
from headrace.engines.base import Engine
from headrace.errors import SnapshotNotFoundError, TimeGapError
from headrace.identifiers import TableName, quote
from headrace.samples.point_in_time import Exposures
from headrace.samples.window_use import ResolvedWindows
from headrace.samples.windows import WindowJoin, window_sql
from headrace.serving.logged import ASKED_AT, Logged
from headrace.serving.skew_verdicts import SNAPSHOTS_MAX, Cause, Mismatch, compared, verdict
from headrace.serving.values import plain
from headrace.serving.window_state import definition_of
from headrace.tables.lake import OpenLake
from headrace.tables.version import TableVersion

_ASKED = "asked"
_Values = tuple[Any, ...]


class WindowReplay:
    """The values of one window view for every row of the log, by its events as they are or were."""

    def __init__(
        self, lake: OpenLake, engine: Engine, used: ResolvedWindows, asked: pa.Table
    ) -> None:
        self._table, self._engine = lake.table(used.windows.events), engine
        self._windows, self._names = used.windows, [name for _, name in used.columns]
        self._asked = asked
        self._join = WindowJoin(
            windows=used.windows,
            relation=TableName.parse(used.windows.events).sql,
            coordinate=used.coordinate,
            columns=used.columns,
        )
        self._then: dict[int, Sequence[_Values]] = {}
        self._counts: dict[int, Mapping[int, int]] = {}

    def compare(self, logged: Sequence[Logged]) -> Iterator[Mismatch]:
        """Yield every value of the view, with its cause where it differs."""
        now = self._values(self._table.head())
        for number, each in enumerate(logged):
            cause: Cause = "unknown"
            if not self._served(each, now[number]):
                cause = self._cause(number, each, now[number])
            yield from compared(
                each, now[number], view=self._windows.view, names=self._names, cause=cause
            )

    def _cause(self, number: int, logged: Logged, now: _Values) -> Cause:
        said = logged.views.get(self._windows.view, {})
        if said.get("definition", definition_of(self._windows)) != definition_of(self._windows):
            return "definition"
        if said.get("status") == "not_yet_known":
            return "superseded"
        if said.get("status") == "expired":
            return "staleness"  # the publisher had not looked for too long
        try:
            held = self._then_at(self._table.at(snapshot_id=int(said["snapshot_id"])), number)
            if not self._served(logged, held):
                return "missing" if "definition" in said else "unknown"
            there = self._table.at(time=logged.served_at)
            if self._then_at(there, number) == now:
                return "staleness"
            gained = self._events(self._table.head()).get(number, 0)
            gained -= self._events(there).get(number, 0)
            return "removed" if gained < 0 else "late_arrival"
        except (SnapshotNotFoundError, TimeGapError, KeyError, ValueError):
            return "unknown"

    def _served(self, logged: Logged, values: _Values) -> bool:
        pairs = zip(self._names, values, strict=True)
        return all(verdict(logged.values.get(name), value) == "equal" for name, value in pairs)

    def _then_at(self, version: TableVersion, number: int) -> _Values:
        """Return the values of one request by another version of the table.

        Raises:
            SnapshotNotFoundError: If too many versions were looked at.

        """
        known = version.snapshot_id or 0
        if known not in self._then:
            if len(self._then) >= SNAPSHOTS_MAX:
                raise SnapshotNotFoundError(str(self._table.name), f"snapshot {known}")
            self._then[known] = self._values(version)
        return self._then[known][number]

    def _values(self, version: TableVersion) -> Sequence[_Values]:
        self._engine.bind(self._windows.events, version)
        self._engine.bind_arrow(_ASKED, self._asked)
        exposures = Exposures(relation=_ASKED, id="number", at=ASKED_AT)
        sql = window_sql(exposures, self._join, dialect=self._engine.dialect)
        found: dict[int, Mapping[str, Any]] = {}
        for batch in self._engine.query(sql):
            found |= {record["number"]: record for record in batch.to_pylist()}
        return [
            tuple(plain(found[number][name]) for name in self._names)
            for number in range(self._asked.num_rows)
        ]

    def _events(self, version: TableVersion) -> Mapping[int, int]:
        """Count the events that each request could have known by their times."""
        known = version.snapshot_id or 0
        if known not in self._counts:
            self._engine.bind(self._windows.events, version)
            self._engine.bind_arrow(_ASKED, self._asked)
            keys = (f"e.{quote(name)} = a.{quote(name)}" for name in self._windows.entity)
            sql = (
                f"select a.number, count(*) as events from {self._join.relation} e"
                f" join {_ASKED} a on {' and '.join(keys)}"
                f" where e.{quote(EVENT_TIME)} < a.{ASKED_AT} and e.{quote(KNOWN_AT)} < a.{ASKED_AT}"
                " group by a.number"
            )
            rows = self._engine.query(sql).read_all().to_pylist()
            self._counts[known] = {row["number"]: row["events"] for row in rows}
        return self._counts[known]
