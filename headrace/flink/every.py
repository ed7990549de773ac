"""All jobs that Flink should run, as the tables of the lake say."""

from collections.abc import Iterator

from headrace.definitions.load import inspect_declarations
from headrace.definitions.stream import Stream
from headrace.definitions.window_rows import WindowRows
from headrace.definitions.windows import resolve_windows
from headrace.flink.job import FlinkJob
from headrace.flink.jobs import StreamJob
from headrace.flink.live_samples import SUFFIX, live_samples
from headrace.flink.sample_job import SampleJob
from headrace.flink.view_job import ViewJob
from headrace.identifiers import TableName
from headrace.ingest.owner import FLINK, Owner
from headrace.tables.lake import OpenLake


def owned_jobs(lake: OpenLake, *, only: str | None = None) -> Iterator[FlinkJob]:
    """Yield the job of each declared stream, window view and sample set that belongs to Flink.

    Args:
        lake: The lake.
        only: The stream, view or table of samples to look at; all by default.

    Raises:
        SettingsError: If one does, and the profile does not say where Flink is.

    """
    declared = inspect_declarations(lake.settings)
    streams = declared.streams

    def is_owned(table: TableName, subject: str) -> bool:
        return only in (None, subject) and _is_owned(lake, table, subject)

    for stream in streams.values():
        if is_owned(stream.table, stream.name):
            yield StreamJob(lake, stream)
    by_table: dict[TableName, Stream] = {each.table: each for each in streams.values()}
    for view in declared.window_views.values():
        if view.events in by_table:
            windows = resolve_windows(view, tuple(streams.values()))
            rows = WindowRows.of(windows, by_table[view.events])
            if is_owned(rows.table, windows.view):
                yield ViewJob(lake, rows)
    for samples in declared.sample_sets.values():
        if is_owned(TableName.parse(f"{samples.table}{SUFFIX}"), str(samples.table)):
            yield SampleJob(lake, live_samples(lake, samples))


def _is_owned(lake: OpenLake, table: TableName, subject: str) -> bool:
    if not lake.exists(table):
        return False
    return Owner.read(lake.table(table).head().properties, stream=subject).by == FLINK
