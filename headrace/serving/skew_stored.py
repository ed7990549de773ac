"""Replays the log of a view whose rows a table has, through the point-in-time rule."""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import pyarrow as pa

from headrace.engines.base import Engine
from headrace.errors import SnapshotNotFoundError, TimeGapError
from headrace.identifiers import TableName
from headrace.samples.partition import feature_join
from headrace.samples.point_in_time import Exposures, record_sql
from headrace.samples.resolve import ResolvedFeature
from headrace.serving.logged import ASKED_AT, Logged
from headrace.serving.skew_verdicts import SNAPSHOTS_MAX, Cause, Mismatch, compared, verdict
from headrace.serving.values import plain
from headrace.tables.lake import OpenLake
from headrace.tables.version import TableVersion

_ASKED = "asked"


class _Row(NamedTuple):
    """The feature row of one request: its times, and its values by their names in training."""

    event_time: dt.datetime
    known_at: dt.datetime
    values: tuple[Any, ...]


class StoredReplay:
    """The rows of one view for every row of the log, in the table as it is or was."""

    def __init__(
        self, lake: OpenLake, engine: Engine, feature: ResolvedFeature, asked: pa.Table
    ) -> None:
        self._table, self._engine, self._feature = lake.table(feature.view), engine, feature
        self._asked = asked
        # without the TTL, which is applied here: an expired row has a cause of its own
        plain_feature = _without_ttl(feature)
        self._join = feature_join(plain_feature, relation=TableName.parse(feature.view).sql)
        self._then: dict[int | None, Mapping[int, _Row]] = {}

    def compare(self, logged: Sequence[Logged]) -> Iterator[Mismatch]:
        """Yield every value of the view, with its cause where it differs."""
        now = self._rows(self._table.head(), range(len(logged)))
        names = [name for _, name in self._feature.columns]
        suspects: list[int] = []
        for number, each in enumerate(logged):
            if any(
                verdict(each.values.get(name), value) != "equal"
                for name, value in zip(names, self._values(now.get(number), each.at), strict=True)
            ):
                suspects.append(number)
        why: dict[int, Cause] = {
            number: self._cause(number, logged[number], now.get(number)) for number in suspects
        }
        for number, each in enumerate(logged):
            expected = self._values(now.get(number), each.at)
            cause: Cause = why.get(number, "unknown")
            yield from compared(each, expected, view=self._feature.view, names=names, cause=cause)

    def _values(self, row: _Row | None, at: dt.datetime) -> tuple[Any, ...]:
        if row is None or self._is_expired(row.event_time, at):
            return (None,) * len(self._feature.columns)
        return row.values

    def _is_expired(self, event_time: dt.datetime, at: dt.datetime) -> bool:
        ttl_us = self._feature.ttl_us
        return ttl_us is not None and event_time < at - dt.timedelta(microseconds=ttl_us)

    def _cause(self, number: int, logged: Logged, now: _Row | None) -> Cause:
        said = logged.views.get(self._feature.view, {})
        used = (_time(said.get("event_time")), _time(said.get("known_at")))
        if now is not None and used == (now.event_time, now.known_at):
            expired = self._is_expired(now.event_time, logged.at)
            if (said.get("status") == "expired") != expired:
                return "ttl"
            return "tie" if self._ties(number, now) else "definition"
        if now is None:
            return "removed"
        if said.get("status") == "not_yet_known":
            return "superseded"
        try:
            snapshot_id = int(said["snapshot_id"])
            held = self._then_at(self._table.at(snapshot_id=snapshot_id), number)
            if held == now:
                return "missing" if _was_to_be_there(said, now) else "staleness"
            there = self._then_at(self._table.at(time=logged.served_at), number)
        except (SnapshotNotFoundError, TimeGapError, KeyError, ValueError):
            return "unknown"
        return "staleness" if there == now else "late_arrival"

    def _then_at(self, version: TableVersion, number: int) -> _Row | None:
        """Return the row of one request in another version of the table.

        Raises:
            SnapshotNotFoundError: If too many versions were looked at.

        """
        known = version.snapshot_id
        if known not in self._then:
            if len(self._then) >= SNAPSHOTS_MAX:
                raise SnapshotNotFoundError(self._feature.view, f"snapshot {known}")
            self._then[known] = self._rows(version, range(self._asked.num_rows))
        return self._then[known].get(number)

    def _ties(self, number: int, row: _Row) -> bool:
        """Whether several rows of this entity have both times of this row."""
        self._engine.bind(self._feature.view, self._table.head())
        self._engine.bind_arrow(_ASKED, self._asked.slice(number, 1))
        dialect = self._engine.dialect
        same = " and ".join(f'f."{name}" = a."{name}"' for name in self._feature.entity)
        happened, known = f'f."{self._feature.event_time}"', f'f."{self._feature.known_at}"'
        delay = dt.timedelta(microseconds=self._feature.delay_us)
        sql = (
            f"select count(*) as n from {self._join.relation} f join {_ASKED} a on {same}"
            f" where {happened} = {dialect.literal(row.event_time)}"
            f" and greatest({known}, {dialect.shifted(happened, delay)})"
            f" = {dialect.literal(row.known_at)}"
        )
        return bool(self._engine.query(sql).read_all().column("n")[0].as_py() > 1)

    def _rows(self, version: TableVersion, numbers: range) -> Mapping[int, _Row]:
        if version.snapshot_id is None:
            return {}
        self._engine.bind(self._feature.view, version)
        self._engine.bind_arrow(_ASKED, self._asked.slice(numbers.start, len(numbers)))
        exposures = Exposures(relation=_ASKED, id="number", at=ASKED_AT)
        sql = record_sql(exposures, self._join, dialect=self._engine.dialect)
        found: dict[int, _Row] = {}
        for batch in self._engine.query(sql):
            for record in batch.to_pylist():
                happened = record[self._join.event_time_as]
                if happened is not None:
                    values = tuple(plain(record[name]) for _, name in self._feature.columns)
                    known_at = record[self._join.known_at_as]
                    found[record["number"]] = _Row(happened, known_at, values)
        return found


def _without_ttl(feature: ResolvedFeature) -> ResolvedFeature:
    return replace(feature, ttl_us=None)


def _was_to_be_there(said: Mapping[str, Any], row: _Row) -> bool:
    """Whether the publication that was served from must have had a row that the store lacked.

    Rows that were not known when the view was published are held back until the next publication.
    """
    published = _time(said.get("as_of"))
    return said.get("status") == "missing" and (published is None or row.known_at < published)


def _time(text: str | None) -> dt.datetime | None:
    return None if text is None else dt.datetime.fromisoformat(text)
