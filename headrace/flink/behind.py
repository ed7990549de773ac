"""Whether a job falls behind a table that it follows: rows that came into it a while ago are not read yet.

How far a job has read is its time, the newest `known_at` of the rows that it read less their disorder. What
it writes does not tell: where nothing changes there are no rows.
"""

import datetime as dt
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote as in_url

from pyiceberg.table.snapshots import Operation, Snapshot

from headrace.clock import EPOCH, ONE_US
from headrace.definitions.stream import KNOWN_AT
from headrace.flink.begin import Begin
from headrace.flink.client import JobManager
from headrace.iceberg.manifests import entries_of, manifests_of
from headrace.tables.lake import LakeTable

_METRIC = re.compile(r"WatermarkAssigner\[[0-9]+\]\.currentOutputWatermark")
_ONE_MS = dt.timedelta(milliseconds=1)
_SHOWN = "%Y-%m-%d %H:%M:%S"
_NO_TIME_MS = 0  # what was there before a job has no time


@dataclass(frozen=True, kw_only=True)
class Followed:
    """A table whose appends a job reads.

    Args:
        table: Its name.
        begin: Where the job began.
        disorder: By how much a row may be known before others that came earlier.
        source: The name by which the job's statements read it.
        skew: By how much the clock may be wrong by which its rows are known.
        columns: The columns that they read.

    """

    table: str
    begin: Begin
    disorder: dt.timedelta
    source: str
    skew: dt.timedelta
    columns: frozenset[str]


def behind(manager: JobManager, job_id: str, followed: Followed, newest: dt.datetime) -> str:
    """Say how far a job has read a table that has a row that was known at `newest`; empty if it has read it.

    A job that started again may have read that row before, and since then only rows that were known earlier,
    or none: its tasks say no time then, and nothing is said here.

    Raises:
        FlinkUnavailableError: If Flink does not answer.
        FlinkRefusedError: If it does not know the job.

    """
    reached_ms = _reached_ms(manager, job_id, followed.source)
    if reached_ms is None or reached_ms <= _NO_TIME_MS:
        return ""
    reached = EPOCH + reached_ms * _ONE_MS + followed.disorder
    if reached >= newest - followed.disorder - _ONE_MS:
        return ""
    what = f"what was known by {reached:{_SHOWN}} of `{followed.table}`"
    return f"it has read {what}, which has what was known at {newest:{_SHOWN}}"


def newest_known(
    table: LakeTable, *, since: int, before_ms: int, skew: dt.timedelta
) -> dt.datetime | None:
    """Return when the newest row was known of those that came last before a moment; None if none came.

    One that says it is known later than it came, by a wrong clock, moves no job's time any further than that,
    and none at all if it is beyond `skew`: then it is not looked at.
    What is compacted or expired since is not known to have come then, and not looked at.

    Args:
        table: The table.
        since: The snapshot with which nothing more is looked at.
        before_ms: The moment.
        skew: By how much the clock may be wrong by which rows are known.

    """
    metadata = table.iceberg().metadata
    there = {each.snapshot_id: each for each in metadata.snapshots}
    at = metadata.current_snapshot_id
    while at is not None and at != since and at in there:
        if there[at].timestamp_ms <= before_ms and _has_new_rows(there[at]):
            return _known(table, there[at], skew=skew)
        at = there[at].parent_snapshot_id
    return None


def _has_new_rows(snapshot: Snapshot) -> bool:
    summary = snapshot.summary
    if summary is None or summary.operation is not Operation.APPEND:
        return False
    return int(summary.additional_properties.get("added-records", "0")) > 0


def _known(table: LakeTable, snapshot: Snapshot, *, skew: dt.timedelta) -> dt.datetime | None:
    """Read it from the bounds of the files that a snapshot added."""
    opened = table.iceberg()
    column = opened.schema().find_field(KNOWN_AT).field_id
    latest = snapshot.timestamp_ms * 1000 + skew // ONE_US
    bounds = [
        tuple(
            int.from_bytes(each[column], "little", signed=True)
            for each in (entry.data_file.upper_bounds, entry.data_file.lower_bounds)
            if column in (each or {})
        )
        for manifest in manifests_of(snapshot, opened.io)
        if manifest.added_snapshot_id == snapshot.snapshot_id
        for entry in entries_of(manifest, opened.io)
        if entry.snapshot_id == snapshot.snapshot_id
    ]
    # of a file with a row of a wrong clock, the lower bound is all that is known of the others
    found = [each for file in bounds for each in file if each <= latest]
    if not found:
        return None
    return EPOCH + min(max(found), snapshot.timestamp_ms * 1000) * ONE_US


def _reached_ms(manager: JobManager, job_id: str, source: str) -> int | None:
    """Ask for the least time of the tasks that read a source; None if they do not say it."""
    job = manager.ask(f"/jobs/{job_id}")
    reads = re.compile(rf", {re.escape(source)}(, [a-z]+=\[.*?\])*\]\]")
    tasks = [each["id"] for each in job["plan"]["nodes"] if reads.search(str(each["description"]))]
    found: list[int] = []
    for task in tasks:
        path = f"/jobs/{job_id}/vertices/{task}/subtasks/metrics"
        listed: Any = manager.ask(path)
        for name in (str(each["id"]) for each in listed):
            if _METRIC.fullmatch(name):
                values: Any = manager.ask(f"{path}?get={in_url(name, safe='')}")
                found += [int(each["min"]) for each in values]
    return min(found, default=None)
