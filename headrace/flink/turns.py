"""Commands that start one job take turns, so that the later one finds that it runs."""

from collections.abc import Generator
from contextlib import ExitStack, contextmanager

from headrace.errors import CatalogBusyError, JobStartsError
from headrace.tables.lake import OpenLake


@contextmanager
def turn(lake: OpenLake, subject: str) -> Generator[None]:
    """Let one command start the job of a subject at a time.

    Raises:
        JobStartsError: If another one takes longer than a lock is waited for, as Flink may.

    """
    with ExitStack() as stack:
        try:
            stack.enter_context(lake.locks.hold(f"flink.{subject}"))
        except CatalogBusyError as error:
            raise JobStartsError(subject) from error
        yield
