"""Compares what was served with what the training rule gives for the same moments, and says why not.

Every logged value is looked up again by the point-in-time rule, in the feature tables as they are now.
Where the two differ, older snapshots tell the cause: the one the store held, and the one that was the
newest of the table at the moment of the request.
"""

import datetime as dt
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, TypeAlias

import pyarrow as pa

from headrace.definitions.sample_set import SampleSet
from headrace.engines.base import Engine
from headrace.engines.open import open_engine
from headrace.errors import SnapshotNotFoundError, TimeGapError
from headrace.identifiers import TableName
from headrace.samples.partition import feature_join
from headrace.samples.point_in_time import Exposures, record_sql
from headrace.samples.resolve import ResolvedFeature, resolve
from headrace.serving.logged import ASKED_AT, Logged, parsed
from headrace.serving.logged import asked as asked_rows
from headrace.serving.values import plain
from headrace.tables.lake import OpenLake
from headrace.tables.version import TableVersion

Verdict: TypeAlias = Literal["equal", "different", "missing", "extra"]
Cause: TypeAlias = Literal[
    "late_arrival",
    "definition",
    "ttl",
    "tie",
    "missing",
    "staleness",
    "superseded",
    "type",
    "removed",
    "unknown",
]
_ASKED = "asked"
_SNAPSHOTS_MAX = 200  # looked at for causes of one view; what is left is `unknown`


@dataclass(frozen=True, kw_only=True)
class Mismatch:
    """One served value that the training rule does not give, with both and the cause."""

    request_id: str
    row: int
    at: dt.datetime
    feature: str
    view: str
    verdict: Verdict
    cause: Cause
    served: Any
    expected: Any


@dataclass(frozen=True, kw_only=True)
class FeatureSkew:
    """How often the values of one feature were as in training, and the causes where not."""

    feature: str
    verdicts: Mapping[Verdict, int]
    causes: Mapping[Cause, int]


@dataclass(frozen=True, kw_only=True)
class SkewReport:
    """What a replay found: `rows` of the log, each feature, and the first mismatches."""

    sample_set: str
    rows: int
    features: tuple[FeatureSkew, ...]
    examples: tuple[Mismatch, ...]

    @property
    def mismatches(self) -> int:
        """How many values were not as in training."""
        return sum(sum(each.causes.values()) for each in self.features)


class _Row(NamedTuple):
    """The feature row of one request: its times, and its values by their names in training."""

    event_time: dt.datetime
    known_at: dt.datetime
    values: tuple[Any, ...]


def measure_skew(
    lake: OpenLake, sample_set: SampleSet, log: pa.Table, *, examples_max: int = 100
) -> SkewReport:
    """Replay a serving log through the point-in-time rule.

    A value is `equal`, `different`, `missing` (null was served, training has a value) or `extra` (the
    reverse). The causes: `ttl`, the same row counted as expired on one side only; `tie`, rows of equal
    times; `definition`, the same row has another value now; `type`, equal numbers of different types;
    `removed`, the served row is gone from the table; `missing`, the store lacked a row of its own
    snapshot; `staleness`, the table had the row when the request came, the store did not;
    `superseded`, the request asked for an earlier moment, and the store had a newer row only;
    `late_arrival`, the row came into the table after the request; `unknown`, if the snapshots that
    would tell have expired.

    Args:
        lake: The lake.
        sample_set: As the log was written for.
        log: Rows of the log's table.
        examples_max: How many mismatches to return with their values.

    Raises:
        DefinitionError: If the sample set contradicts its tables.

    """
    recipe = resolve(lake, sample_set)
    logged = list(parsed(log, sample_set.name))
    entities = tuple(dict.fromkeys(name for each in recipe.features for name in each.entity))
    asked = asked_rows(log, sample_set.name, entities)
    verdicts: dict[str, Counter[Verdict]] = {}
    causes: dict[str, Counter[Cause]] = {}
    examples: list[Mismatch] = []
    with open_engine(lake.settings) as engine:
        for feature in recipe.features:
            replay = _Replay(lake, engine, feature, asked)
            for found in replay.compare(logged):
                verdicts.setdefault(found.feature, Counter())[found.verdict] += 1
                if found.verdict == "equal":
                    continue
                causes.setdefault(found.feature, Counter())[found.cause] += 1
                if len(examples) < examples_max:
                    examples.append(found)
    return SkewReport(
        sample_set=sample_set.name,
        rows=len(logged),
        features=tuple(
            FeatureSkew(feature=name, verdicts=dict(counts), causes=dict(causes.get(name, {})))
            for name, counts in verdicts.items()
        ),
        examples=tuple(examples),
    )


class _Replay:
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
        now = self._rows(self._table.head(), range(len(logged)))
        names = [name for _, name in self._feature.columns]
        suspects: list[int] = []
        for number, each in enumerate(logged):
            if any(
                _verdict(each.values.get(name), value) != "equal"
                for name, value in zip(names, self._values(now.get(number), each.at), strict=True)
            ):
                suspects.append(number)
        why: dict[int, Cause] = {
            number: self._cause(number, logged[number], now.get(number)) for number in suspects
        }
        for number, each in enumerate(logged):
            expected = self._values(now.get(number), each.at)
            for name, value in zip(names, expected, strict=True):
                served = each.values.get(name)
                verdict = _verdict(served, value)
                cause: Cause = why.get(number, "unknown")
                if verdict == "different" and _same_number(served, value):
                    cause = "type"
                yield Mismatch(
                    request_id=each.request_id,
                    row=each.row,
                    at=each.at,
                    feature=name,
                    view=self._feature.view,
                    verdict=verdict,
                    cause=cause,
                    served=served,
                    expected=value,
                )

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
                return "missing" if said.get("status") == "missing" else "staleness"
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
            if len(self._then) >= _SNAPSHOTS_MAX:
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


def _verdict(served: Any, expected: Any) -> Verdict:  # noqa: ANN401  (JSON)
    if served is None and expected is None:
        return "equal"
    if served is None:
        return "missing"
    if expected is None:
        return "extra"
    return "equal" if type(served) is type(expected) and served == expected else "different"


def _same_number(served: Any, expected: Any) -> bool:  # noqa: ANN401  (JSON)
    both = isinstance(served, int | float) and isinstance(expected, int | float)
    return both and served == expected


def _time(text: str | None) -> dt.datetime | None:
    return None if text is None else dt.datetime.fromisoformat(text)
