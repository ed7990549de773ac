"""Which job of Flink a name means: of a stream, or of a table, whose name has a namespace."""

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

from headrace.cli.declared import stream_named, window_rows_named
from headrace.errors import NotDeclaredError

if TYPE_CHECKING:
    from headrace.config import Settings
    from headrace.flink.job import FlinkJob
    from headrace.flink.jobs import StreamJob
    from headrace.flink.table_job import TableJob
    from headrace.flink.view_job import ViewJob
    from headrace.tables.lake import OpenLake


@contextmanager
def stream_job(name: str) -> "Generator[StreamJob]":
    """Open the job of a declared stream.

    Raises:
        NotDeclaredError: If there is no such stream.

    """
    from headrace.flink.jobs import StreamJob

    settings, declared = stream_named(name)
    with _opened(settings) as lake:
        yield StreamJob(lake, declared)


@contextmanager
def view_job(name: str) -> "Generator[ViewJob]":
    """Open the job of a declared window view.

    Raises:
        NotDeclaredError: If there is no such view.

    """
    from headrace.flink.view_job import ViewJob

    settings, rows = window_rows_named(name)
    with _opened(settings) as lake:
        yield ViewJob(lake, rows)


@contextmanager
def table_job(name: str) -> "Generator[TableJob]":
    """Open the job that writes a table: as it is declared, or as one that was and may be stopped.

    Raises:
        NotDeclaredError: If nothing of the name was ever declared.

    """
    from headrace.config import Settings

    settings = Settings.load()
    try:
        opened = _declared_job(name, settings)
    except NotDeclaredError as error:
        opened = _former_job(name, settings, error)
    with _opened(settings) as lake:
        yield opened(lake)


def _opened(settings: "Settings") -> "OpenLake":
    """Open the lake if its store answers: each table that is looked at would be waited for otherwise."""
    from headrace.storage.answering import refuse_silent
    from headrace.tables.lake import OpenLake

    if settings.s3 is not None:
        refuse_silent(settings.warehouse_uri, settings.s3.file_io())
    return OpenLake.open(settings)


def _declared_job(name: str, settings: "Settings") -> "Callable[[OpenLake], TableJob]":
    """Find a keyed table, a sample set by the name of its table, or else a view."""
    from headrace.cli.declared import keyed_stream, sample_set_of
    from headrace.flink.keyed_job import KeyedJob
    from headrace.flink.live_samples import live_samples
    from headrace.flink.sample_job import SampleJob
    from headrace.flink.view_job import ViewJob

    keyed = keyed_stream(name, settings)
    if keyed is not None:
        return lambda lake: KeyedJob(lake, keyed)
    samples = sample_set_of(name, settings)
    if samples is not None:
        return lambda lake: SampleJob(lake, live_samples(lake, samples))
    _, rows = window_rows_named(name)
    return lambda lake: ViewJob(lake, rows)


def _former_job(
    name: str, settings: "Settings", error: NotDeclaredError
) -> "Callable[[OpenLake], TableJob]":
    """Find a job that a table says Flink ran; without one, nothing of the name was ever declared."""
    from headrace.flink.every import undeclared_jobs
    from headrace.flink.undeclared import UndeclaredJob
    from headrace.tables.lake import OpenLake

    if not settings.state_dir.is_dir():
        raise error
    with OpenLake.existing(settings) as lake:
        found = next((each.table for each in undeclared_jobs(lake) if each.subject == name), None)
    if found is None:
        raise error
    return lambda lake: UndeclaredJob(lake, name, found)


def job_of(name: str) -> "AbstractContextManager[FlinkJob]":
    """Open the job of a stream, or of a table, whose name has a namespace."""
    return table_job(name) if is_table(name) else stream_job(name)


def is_table(name: str) -> bool:
    """Whether a name is that of a table."""
    return "." in name
