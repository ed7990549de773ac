"""Streams whose files are whole snapshots: what is removed, changes and returns, each known when it was."""

import datetime as dt
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from headrace.api import Lake
from headrace.crash_points import CRASH_POINTS
from headrace.definitions.properties import WHOLE_SNAPSHOT_PREFIX
from headrace.definitions.stream import Stream
from headrace.errors import FencedError, SourceFileError, WholeSnapshotRetryError
from headrace.identifiers import TableName
from headrace.ingest.audit import plan_audit, run_audit
from headrace.ingest.cadence import Cadence
from headrace.ingest.follow import follow
from headrace.ingest.newest_snapshot import NewestGuard, NewestSnapshot
from headrace.ingest.reset import apply_reset
from headrace.ingest.retry import apply_retry
from headrace.ingest.run import ingest
from headrace.samples.build import build
from headrace.samples.inspect import inspect_sample
from tests.ingest.processes import exit_code, start_ingester
from tests.ingest.test_without_time import SAMPLES, land, shown, take
from tests.raising import refused

UTC = dt.UTC


@pytest.fixture
def lake(lake: Lake, tmp_path: Path) -> Iterator[Lake]:
    """A lake with declarations of its own."""
    (tmp_path / "declared" / "streams").mkdir(parents=True)
    with Lake.open(replace(lake.settings, declarations=tmp_path / "declared")) as opened:
        yield opened


def items(**changes: Any) -> Stream:  # noqa: ANN401
    said: dict[str, Any] = {
        "stream": "items",
        "table": "raw.items",
        "source": {"files": "items/*", "complete_files": True},
        "format": "csv",
        "key": "item_id",
        "event_time": "ingested",
        "full_snapshot": True,
        "feature_view": {"entity": ["item_id"]},
        "fields": {
            "item_id": {"type": "long", "required": True},
            "price": {"type": "double", "required": True},
        },
    }
    return Stream.model_validate(said | changes)


def snapshot(lake: Lake, name: str, *rows: tuple[int, float], stream: Stream | None = None) -> None:
    lines = [f"{item},{price}" for item, price in rows]
    land(lake, f"items/{name}.csv", "\n".join(["item_id,price", *lines]))
    take(lake, stream or items())


def revisions(lake: Lake, item: int = 1) -> list[tuple[float | None, bool]]:
    rows = lake.table("raw.items").head().to_arrow().to_pylist()
    mine = [row for row in rows if row["item_id"] == item]
    mine.sort(key=lambda row: (row["event_time"], row["known_at"]))
    assert all(row["event_time"] <= row["known_at"] for row in mine)
    return [(row["price"], row["_removed"]) for row in mine]


def test_removal_return_and_change_are_revisions_known_when_their_snapshot_was_taken(
    lake: Lake,
) -> None:
    gaps: dict[str, dt.datetime] = {}
    stages = {
        "1_there": [(1, 10.0), (2, 20.0)],
        "2_gone": [(2, 20.0)],
        "3_back": [(1, 10.0), (2, 20.0)],
        "4_changed": [(1, 8.0)],
    }
    for name, rows in stages.items():
        snapshot(lake, name, *rows)
        gaps[name] = dt.datetime.now(UTC)

    assert revisions(lake) == [(10.0, False), (None, True), (10.0, False), (8.0, False)]
    assert revisions(lake, 2) == [(20.0, False)] * 3 + [(None, True)]
    shown(lake, **gaps)
    build(lake, SAMPLES)
    found = lake.table("samples.feed").head().to_arrow()
    prices = dict(zip(found["sample_id"].to_pylist(), found["price"].to_pylist(), strict=True))
    assert prices == {"1_there": 10.0, "2_gone": None, "3_back": 10.0, "4_changed": 8.0}
    for name in stages:
        (feature,) = inspect_sample(lake, [TableName.parse("samples.feed")], name).features
        assert feature.used is not None
        assert feature.used.removed == (name == "2_gone")
    assert not run_audit(lake, plan_audit(lake, items())).wrong


def test_the_same_files_again_change_nothing(lake: Lake) -> None:
    snapshot(lake, "a", (1, 10.0), (2, 20.0))
    snapshot(lake, "b", (2, 20.0))
    before = lake.table("raw.items").head().snapshot_id
    assert ingest(lake, items()).commits == 0
    assert lake.table("raw.items").head().snapshot_id == before


def test_several_snapshots_in_one_run_are_taken_in_the_order_of_their_names(lake: Lake) -> None:
    land(lake, "items/b.csv", "item_id,price\n2,20\n")
    land(lake, "items/a.csv", "item_id,price\n1,10\n2,20\n")
    land(lake, "items/c.csv", "item_id,price\n1,9\n")
    assert ingest(lake, items()).commits == 3
    assert revisions(lake) == [(10.0, False), (None, True), (9.0, False)]


POINTS = [
    point
    for point in CRASH_POINTS
    if point.startswith("commit.") or point in ("ingest.after_decode", "ingest.after_dead_letters")
]


@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS)
def test_a_snapshot_whose_ingester_is_killed_counts_once(lake: Lake, point: str) -> None:
    snapshot(lake, "a", *((item, 1.0) for item in range(40)))
    for name, first in (("b", 10), ("c", 20)):
        lines = "\n".join(f"{item},2" for item in range(first, 40))
        land(lake, f"items/{name}.csv", f"item_id,price\n{lines}\n")
    killed = start_ingester(lake.settings, items(), rows_per_commit=5, crash_at=f"{point}:2")
    assert exit_code(killed) == -9

    ingest(lake, items())

    assert revisions(lake, 5) == [(1.0, False), (None, True)]
    assert revisions(lake, 15) == [(1.0, False), (2.0, False), (None, True)]
    assert revisions(lake, 25) == [(1.0, False), (2.0, False), (2.0, False)]
    assert not run_audit(lake, plan_audit(lake, items())).wrong


def test_a_snapshot_with_a_record_that_is_refused_removes_nothing(lake: Lake) -> None:
    snapshot(lake, "a", (1, 10.0), (2, 20.0))
    land(lake, "items/b.csv", "item_id,price\n2,20\nx,1\n")
    with refused(SourceFileError, path="items/b.csv"):
        ingest(lake, items())
    assert revisions(lake) == [(10.0, False)]
    land(lake, "items/b.csv", "item_id,price\n2,20\n")  # mended
    ingest(lake, items())
    assert revisions(lake) == [(10.0, False), (None, True)]


@pytest.mark.parametrize("format_", ["csv", "parquet"])
def test_a_snapshot_without_a_record_removes_everything_only_where_that_is_allowed(
    lake: Lake, format_: str
) -> None:
    snapshot(lake, "a", (1, 10.0), (2, 20.0))
    stream, empty = items(), lake.settings.data_dir / "items" / f"b.{format_}"
    if format_ == "parquet":
        kinds = {"item_id": pa.int64(), "price": pa.float64()}
        pq.write_table(pa.schema(list(kinds.items())).empty_table(), empty)
        (lake.settings.data_dir / "items" / "a.csv").unlink()
        stream = items(format="parquet", source={"files": "items/*"})
    else:
        empty.write_text("item_id,price\n")
    with refused(SourceFileError, path=f"items/b.{format_}") as error:
        ingest(lake, stream)
    assert "all 2 keys of `items/a.csv`" in str(error.value)
    assert "`allow_empty: true`" in str(error.value)
    assert revisions(lake) == [(10.0, False)]
    allowing = stream.model_copy(update={"allow_empty": True})
    assert ingest(lake, allowing).rows == 2
    assert revisions(lake) == [(10.0, False), (None, True)]
    assert revisions(lake, 2) == [(20.0, False), (None, True)]


def test_only_whole_snapshots_may_be_allowed_to_be_empty() -> None:
    assert items(allow_empty=True).allow_empty
    with pytest.raises(ValidationError, match="full_snapshot: true"):
        items(full_snapshot=False, allow_empty=True)


def test_a_snapshot_that_comes_late_is_refused_by_name(lake: Lake) -> None:
    snapshot(lake, "2026-01-02", (1, 10.0))
    land(lake, "items/2026-01-01.csv", "item_id,price\n2,20\n")
    with refused(SourceFileError, path="items/2026-01-01.csv"):
        ingest(lake, items())
    assert revisions(lake) == [(10.0, False)]


def test_a_commit_that_was_compared_with_another_snapshot_is_fenced(lake: Lake) -> None:
    snapshot(lake, "a", (1, 10.0))
    base = lake.table("raw.items").iceberg()
    newest = NewestSnapshot.read(base.properties, stream="items")
    NewestGuard(items(), newest=newest)(base)
    for stale in (NewestSnapshot(), replace(newest, source="items/0.csv")):
        with pytest.raises(FencedError):
            NewestGuard(items(), newest=stale)(base)


def test_a_snapshot_that_was_taken_is_not_taken_back_alone(lake: Lake) -> None:
    snapshot(lake, "a", (1, 10.0), (2, 20.0))
    snapshot(lake, "b", (1, 11.0))
    before = revisions(lake, 2)
    with refused(WholeSnapshotRetryError, path="items/b.csv"):
        apply_retry(lake, items(), "items/b.csv")
    snapshot(lake, "c", (1, 12.0), (2, 20.0))
    assert revisions(lake, 2) == [*before, (20.0, False)]


def test_a_stream_that_begins_again_compares_with_nothing(lake: Lake) -> None:
    snapshot(lake, "a", (1, 10.0), (2, 20.0))
    snapshot(lake, "b", (2, 20.0))
    apply_reset(lake, items())
    assert WHOLE_SNAPSHOT_PREFIX + "items" not in lake.table("raw.items").head().properties
    (lake.settings.data_dir / "items" / "a.csv").unlink()
    ingest(lake, items())
    assert revisions(lake) == []
    assert revisions(lake, 2) == [(20.0, False)]


def test_contracts_that_leave_open_what_is_gone_are_refused() -> None:
    kafka = {"source": {"kafka": {"topic": "items"}}, "format": "json"}
    fields = json.loads(json.dumps(items().model_dump(mode="json", exclude_none=True)["fields"]))
    for wrong in (
        kafka,
        {"source": {"files": "items/*"}},
        {"key": None, "feature_view": None},
        {"event_time": {"constant": "2026-01-01T00:00:00Z"}},
        {"known_at": {"after_event": "0s"}},
        {"feature_view": {"entity": ["other"]}, "fields": fields | {"other": fields["item_id"]}},
        {"unknown_fields": "evolve"},
        {"fields": fields | {"_removed": {"type": "boolean"}}},
    ):
        with pytest.raises(ValidationError):
            items(**wrong)
    assert not items().table_schema().field("item_id").nullable
    assert items().table_schema().field("price").nullable
    assert not items(full_snapshot=False).table_schema().field("price").nullable


def test_whole_snapshots_are_not_followed(lake: Lake) -> None:
    with pytest.raises(ValueError):
        follow(lake, items(), stop=threading.Event(), cadence=Cadence())
