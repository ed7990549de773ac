"""Read serving logs for the page of that name: the newest requests, their skew, one in full."""

import datetime as dt
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import streamlit as st

from headrace.config import Settings
from headrace.definitions.load import inspect_declarations
from headrace.definitions.sample_set import SampleSet
from headrace.definitions.stream import EVENT_TIME, Stream
from headrace.errors import LakeError, LakeNotFoundError
from headrace.serving.server.log import REQUIRED
from headrace.serving.skew import FeatureSkew, measure_skew, replayed
from headrace.serving.skew_verdicts import Mismatch
from headrace.tables.lake import OpenLake
from headrace.tables.version import TableVersion
from ui.facts import LakeFacts
from ui.reading import REFRESH_S
from ui.serving_facts import FeatureSkewFacts, RequestFacts, ServingFacts, ValueFacts

__all__ = ["request_values", "serving_facts"]

ROWS_MAX = 5_000  # of the newest requests: a replay reads the feature tables of their days


def serving_facts(lake: LakeFacts) -> tuple[ServingFacts, ...]:
    """Read the newest requests of each declared serving log, and replay them.

    Raises:
        LakeError: If the settings or the lake cannot be read.

    """
    settings = Settings.load()
    key = tuple((each.name, each.metadata_location) for each in lake.tables)
    return _serving_facts(settings, state_dir=str(settings.state_dir), tables=key)


@st.cache_data(ttl=REFRESH_S, max_entries=8, show_spinner="Replaying the newest requests")
def _serving_facts(
    _settings: Settings, *, state_dir: str, tables: tuple[tuple[str, str], ...]
) -> tuple[ServingFacts, ...]:
    _ = state_dir, tables  # the cache's key
    declared = inspect_declarations(_settings)
    logs = [each for each in declared.streams.values() if set(REQUIRED) <= set(each.fields)]
    try:
        opened = OpenLake.existing(_settings)
    except LakeNotFoundError:
        return ()
    with opened as lake:
        return tuple(_facts(lake, each, declared.sample_sets) for each in logs)


def _facts(lake: OpenLake, stream: Stream, sets: Mapping[str, SampleSet]) -> ServingFacts:
    name, table = stream.name, str(stream.table)
    if not lake.exists(stream.table):
        return ServingFacts(stream=name, table=table, skew={})
    try:
        log = _newest(lake.table(stream.table).head())
        found = {
            name: tuple(map(_feature, measure_skew(lake, sets[name], log).features))
            for name in sorted(set(log.column("sample_set").to_pylist()) & set(sets))
        }
    except LakeError as error:
        return ServingFacts(stream=name, table=table, skew={}, error=str(error))
    requests = tuple(_requests(log))
    return ServingFacts(stream=name, table=table, requests=requests, rows=log.num_rows, skew=found)


def _newest(version: TableVersion) -> pa.Table:
    """Return the newest rows, whole requests only."""
    parts: list[pa.Table] = []
    for partition in sorted(version.partitions, key=str, reverse=True):
        parts.append(version.to_arrow(partitions=[partition]))
        if sum(part.num_rows for part in parts) >= ROWS_MAX:
            break
    log = pa.concat_tables(parts) if parts else version.to_arrow()
    log = log.sort_by(
        [(EVENT_TIME, "descending"), ("request_id", "ascending"), ("row", "ascending")]
    )
    if log.num_rows <= ROWS_MAX:
        return log
    cut = log.column("request_id")[ROWS_MAX].as_py()
    return log.slice(0, ROWS_MAX).filter(pc.not_equal(log.slice(0, ROWS_MAX)["request_id"], cut))


def _feature(found: FeatureSkew) -> FeatureSkewFacts:
    return FeatureSkewFacts(
        feature=found.feature,
        equal=found.verdicts.get("equal", 0),
        causes={str(cause): count for cause, count in found.causes.items()},
    )


def _requests(log: pa.Table) -> Iterator[RequestFacts]:
    counts: dict[str, int] = {}
    first: dict[str, dict[str, Any]] = {}
    names = ["request_id", "sample_set", EVENT_TIME, "at"]
    names += ["took_ms"] if "took_ms" in log.column_names else []
    for row in log.select(names).to_pylist():
        counts[row["request_id"]] = counts.get(row["request_id"], 0) + 1
        first.setdefault(row["request_id"], row)
    for request_id, row in first.items():
        yield RequestFacts(
            request_id=request_id,
            sample_set=row["sample_set"],
            served_at=row[EVENT_TIME],
            at=row["at"],
            rows=counts[request_id],
            took_ms=row.get("took_ms"),
        )


def request_values(facts: ServingFacts, request_id: str, *, row: int) -> tuple[ValueFacts, ...]:
    """Replay one row of a request: every value beside the one of training.

    Raises:
        LakeError: If the tables behind it cannot be read.

    """
    asked = next((each for each in facts.requests if each.request_id == request_id), None)
    settings = Settings.load()
    declared = inspect_declarations(settings).sample_sets
    if asked is None or asked.sample_set not in declared:
        return ()
    with OpenLake.existing(settings) as lake:
        log = _newest(lake.table(facts.table).head())
        is_row = pc.and_(pc.equal(log["request_id"], request_id), pc.equal(log["row"], row))
        log = log.filter(is_row)
        found = list(replayed(lake, declared[asked.sample_set], log))
    views: dict[str, dict[str, Any]] = json.loads(log["views"][0].as_py()) if log.num_rows else {}
    return tuple(_values(found, views))


def _values(
    found: Sequence[Mismatch], views: Mapping[str, Mapping[str, Any]]
) -> Iterator[ValueFacts]:
    for each in found:
        used = views.get(each.view, {})
        yield ValueFacts(
            feature=each.feature,
            view=each.view,
            served=_text(each.served),
            training=_text(each.expected),
            verdict=each.verdict,
            cause="" if each.verdict == "equal" else each.cause.replace("_", " "),
            status=str(used.get("status", "")).replace("_", " "),
            event_time=_time(used.get("event_time")),
            known_at=_time(used.get("known_at")),
            snapshot=str(used.get("snapshot_id", "")),
        )


def _time(text: str | None) -> dt.datetime | None:
    return None if text is None else dt.datetime.fromisoformat(text)


def _text(value: object) -> str:
    return "null" if value is None else json.dumps(value)
