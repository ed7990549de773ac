"""All jobs that Flink should run, as the tables of the lake say, and those that it should not any more."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from headrace.definitions.load import Declarations, inspect_declarations
from headrace.definitions.sample_set import SampleSet
from headrace.definitions.stream import Stream
from headrace.definitions.window_rows import WindowRows
from headrace.definitions.window_view import WindowView
from headrace.definitions.windows import resolve_windows
from headrace.errors import LakeError
from headrace.flink.committed import all_writers
from headrace.flink.job import FlinkJob
from headrace.flink.jobs import StreamJob
from headrace.flink.keyed_job import KeyedJob
from headrace.flink.keyed_sql import subject_of
from headrace.flink.live_samples import SUFFIX, live_samples
from headrace.flink.sample_job import SampleJob
from headrace.flink.undeclared import UndeclaredJob, undeclared
from headrace.flink.view_job import ViewJob
from headrace.flink_access import FlinkAccess
from headrace.identifiers import TableName
from headrace.ingest.owner import FLINK, Owner
from headrace.tables.lake import OpenLake
from headrace.tables.version import TableVersion


@dataclass(frozen=True, kw_only=True)
class OwnedJob:
    """A job that should run: the stream, view or table of samples that it is of, and what it writes.

    `table` says who owns it; `writes` names what it writes, and `reads` the topic or the tables that it
    follows. `open` gives the job itself, and raises what
    it raises: `SettingsError` if the profile does not say where Flink is, `FlinkCannotError` and its
    like if a changed declaration says what SQL cannot. `is_ended` means that it should not run: Flink is
    the owner no more, or nothing declares it.
    """

    subject: str
    table: TableName
    writes: str
    reads: tuple[str, ...]
    open: Callable[[], FlinkJob]
    is_ended: bool = False


def owned_jobs(
    lake: OpenLake,
    *,
    only: str | None = None,
    declared: Declarations | None = None,
    access: FlinkAccess | None = None,
) -> Iterator[OwnedJob]:
    """Yield the job of each declared stream, keyed table, window view and sample set that belongs to Flink.

    A table that cannot be read hides no job of another: it is left out.

    Args:
        lake: The lake.
        only: The stream, view or table of samples to look at; all by default.
        declared: The declarations, if they were read already.
        access: How to reach Flink, by default that of the lake's profile.

    Raises:
        LakeError: If the table of `only` cannot be read.

    """
    for each, head in _with_head(lake, declared, access, only=only):
        if Owner.read(head.properties, stream=each.subject).by == FLINK:
            yield each


def ended_jobs(
    lake: OpenLake,
    *,
    only: str | None = None,
    declared: Declarations | None = None,
    access: FlinkAccess | None = None,
) -> Iterator[OwnedJob]:
    """Yield the jobs that were to run once and are not now: one of them may run still.

    So may one that wrote a table of which nothing says so: a former one of its name was dropped.
    Arguments and errors are those of `owned_jobs`; `only` leaves out what nothing declares.
    """
    declared = declared or inspect_declarations(lake.settings)
    for each, head in _with_head(lake, declared, access, only=only):
        owner = Owner.read(head.properties, stream=each.subject)
        if owner.by != FLINK and (owner.epoch or all_writers(head.metadata)):
            yield replace(each, is_ended=True)
    if only is None:
        yield from undeclared_jobs(lake, declared=declared, access=access)


def undeclared_jobs(
    lake: OpenLake, *, declared: Declarations | None = None, access: FlinkAccess | None = None
) -> Iterator[OwnedJob]:
    """Yield the jobs that were to run once and that nothing declares: one of them may run still."""
    declared = declared or inspect_declarations(lake.settings)
    covered = {(each.table, each.subject) for each in _jobs(lake, declared, access)}
    for table, subject in undeclared(lake, declared, covered):
        yield _undeclared(lake, subject, table, access)


def _with_head(
    lake: OpenLake, declared: Declarations | None, access: FlinkAccess | None, *, only: str | None
) -> Iterator[tuple[OwnedJob, TableVersion]]:
    for each in _jobs(lake, declared or inspect_declarations(lake.settings), access):
        try:
            head = lake.head_of(each.table) if only in (None, each.subject) else None
        except LakeError:  # whoever reads the table meets it
            if only is not None:
                raise
            continue
        if head is not None:
            yield each, head


def _jobs(lake: OpenLake, declared: Declarations, access: FlinkAccess | None) -> Iterator[OwnedJob]:
    by_table: dict[TableName, Stream] = {each.table: each for each in declared.streams.values()}
    for stream in by_table.values():
        yield _of_stream(lake, stream, access)
        if stream.keyed is not None:
            yield _of_keyed(lake, stream, access)
    for view in declared.window_views.values():
        if view.events in by_table:
            yield _of_view(lake, view, by_table, access)
    for samples in declared.sample_sets.values():
        yield _of_samples(lake, samples, access)


def _of_stream(lake: OpenLake, stream: Stream, access: FlinkAccess | None) -> OwnedJob:
    return OwnedJob(
        subject=stream.name,
        table=stream.table,
        writes=str(stream.table),
        reads=(stream.source.text,),
        open=lambda: StreamJob(lake, stream, access=access),
    )


def _of_keyed(lake: OpenLake, stream: Stream, access: FlinkAccess | None) -> OwnedJob:
    return OwnedJob(
        subject=subject_of(stream),
        table=stream.table,
        writes=subject_of(stream),
        reads=(str(stream.table),),
        open=lambda: KeyedJob(lake, stream, access=access),
    )


def _of_view(
    lake: OpenLake, view: WindowView, streams: dict[TableName, Stream], access: FlinkAccess | None
) -> OwnedJob:
    windows = resolve_windows(view, tuple(streams.values()))
    rows = WindowRows.of(windows, streams[view.events])
    return OwnedJob(
        subject=windows.view,
        table=rows.table,
        writes=str(rows.table),
        reads=(str(view.events),),
        open=lambda: ViewJob(lake, rows, access=access),
    )


def _of_samples(lake: OpenLake, samples: SampleSet, access: FlinkAccess | None) -> OwnedJob:
    table = TableName.parse(f"{samples.table}{SUFFIX}")
    reads = (samples.exposures.table, *(each.stream for each in samples.labels))
    return OwnedJob(
        subject=str(samples.table),
        table=table,
        writes=str(table),
        reads=tuple(dict.fromkeys(map(str, reads))),
        open=lambda: SampleJob(lake, live_samples(lake, samples), access=access),
    )


def _undeclared(
    lake: OpenLake, subject: str, table: TableName, access: FlinkAccess | None
) -> OwnedJob:
    return OwnedJob(
        subject=subject,
        table=table,
        writes=str(table),
        reads=(),
        open=lambda: UndeclaredJob(lake, subject, table, access=access),
        is_ended=True,
    )
