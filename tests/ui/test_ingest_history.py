"""The history of a stream, minute by minute, from what each commit recorded."""

import datetime as dt
import json
import time

from headrace.api import Lake
from headrace.clock import EPOCH
from headrace.ingest.run import ingest
from headrace.registry import CommitRecord
from tests.ingest.factories import json_line, make_stream
from tests.ingest.log_source import Entry, Log, LogSource
from tests.waiting import WAIT_S
from ui.ingest_history import Moved, history, minutes

STREAM = make_stream("json", allowed_lateness="10s")
MINUTE_MS = 60_000


def commit(at_ms: int, rows: int, *, operation: str = "append") -> CommitRecord:
    return CommitRecord(
        table="raw.things", snapshot_id=at_ms, parent_id=None, sequence_number=at_ms,
        committed_at_ms=at_ms, operation=operation, rows_added=rows,
    )  # fmt: skip


def moved(
    at_ms: int, watermark_s: int | None = None, late: tuple[str | None, str] = ("0", "0")
) -> Moved:
    told: dict[str, object] = {"headrace.late_rows_total": late}
    if watermark_s is not None:
        told["headrace.watermark"] = [None, str(watermark_s * 1_000_000)]
    return Moved.of(at_ms, json.dumps(told))


def test_each_minute_has_its_records_and_the_worst_lag() -> None:
    found = minutes(
        [
            commit(90_000, 10),
            commit(70_000, 20),
            commit(100_000, 7, operation="replace"),
            commit(130_000, 4),
        ],
        refused=[commit(69_000, 5), commit(200_000, 1)],
        moved=[
            moved(70_000, 40, (None, "3")),
            moved(90_000, None, ("3", "4")),
            moved(130_000, 119),
        ],
        lateness_s=10.0,
    )
    assert [(each.minute - EPOCH) // dt.timedelta(minutes=1) for each in found] == [1, 2, 3]
    assert [(each.rows, each.commits, each.dead_letters) for each in found] == [
        (30, 2, 5), (4, 1, 0), (0, 0, 1),
    ]  # fmt: skip
    assert [each.late_rows for each in found] == [4, 0, 0]
    assert [each.lag_s for each in found] == [
        40.0,
        1.0,
        None,
    ]  # the watermark stood still meanwhile
    assert found[0].refused_share == 5 / 35


def test_a_stream_without_a_time_has_no_lag() -> None:
    (found,) = minutes([commit(1, 1)], refused=[], moved=[moved(1)], lateness_s=0.0)
    assert found.lag_s is None


def test_the_history_is_of_one_stream_and_outlives_its_snapshots(lake: Lake) -> None:
    now_s = int(time.time())

    def value(at: int, second: int) -> bytes:
        at_time = dt.datetime.fromtimestamp(now_s + second, dt.UTC).isoformat()
        return json_line(id=f"{at}", at=at_time)

    seconds = (-30, -20, -600, -900)  # the last two are late
    values = [*(value(at, second) for at, second in enumerate(seconds)), b"{"]
    other = make_stream("json", stream="others", table="raw.others")
    ingest(lake, other, source=LogSource({0: Log(entries=[Entry(0, b"{")], end=1)}))
    for end in (2, 5):
        log = Log(entries=[Entry(at, each) for at, each in enumerate(values[:end])], end=end)
        ingest(lake, STREAM, source=LogSource({0: log}))
    found = history(lake, STREAM)
    assert sum(each.rows for each in found) == 4
    assert sum(each.late_rows for each in found) == 2
    assert sum(each.dead_letters for each in found) == 1
    lag_s = max(each.lag_s or 0.0 for each in found)
    assert 20 <= lag_s < 30 + WAIT_S
    assert history(lake, make_stream("json", stream="none", table="raw.none")) == ()
