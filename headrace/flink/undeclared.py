"""Jobs that tables say Flink writes, and that no declaration covers any more."""

from collections.abc import Collection, Iterator
from typing import Never

from headrace.definitions.load import Declarations
from headrace.definitions.properties import OWNER_PREFIX
from headrace.errors import LakeError, UndeclaredJobError
from headrace.flink.job_status import JobStatus
from headrace.flink.table_job import TableJob
from headrace.flink_access import FlinkAccess
from headrace.identifiers import TableName
from headrace.ingest.owner import Owner
from headrace.tables.lake import OpenLake


class UndeclaredJob(TableJob):
    """The job of a former declaration: it can be stopped and released, and never begun.

    Raises:
        UndeclaredJobError: By all that would write its statements.

    """

    def __init__(
        self, lake: OpenLake, subject: str, table: TableName, *, access: FlinkAccess | None = None
    ) -> None:
        super().__init__(lake, access=access)
        self.subject, self.table_name = subject, table

    def sql(self, *, group: str, shown: bool = False) -> Never:
        """Refuse to write statements without a declaration."""
        _ = group, shown
        raise self._refusal()

    def declared(self) -> Never:
        """Refuse to bring a table in line with nothing."""
        raise self._refusal()

    def begin_again(self) -> Never:
        """Refuse to begin a job."""
        raise self._refusal()

    def hand_over(self) -> Never:
        """Refuse to begin a job."""
        raise self._refusal()

    def status(self) -> JobStatus:
        """Look whether a job runs; changes nothing.

        Raises:
            UndeclaredJobError: If one does.

        """
        owner = self.owner
        found = [each for each in self.manager.jobs(name=self.family()) if each.is_running]
        if found:
            raise self._refusal(*(f"{each.name} ({each.id})" for each in found))
        return JobStatus(
            stream=self.subject, owner=owner.by, epoch=owner.epoch, job="", job_id="", health=None
        )

    def _refusal(self, *jobs: str) -> UndeclaredJobError:
        return UndeclaredJobError(self.subject, table=str(self.table_name), jobs=jobs)


def undeclared(
    lake: OpenLake, declared: Declarations, covered: Collection[tuple[TableName, str]]
) -> Iterator[tuple[TableName, str]]:
    """Yield each table and subject that Flink wrote once and no declaration covers.

    None while a declaration cannot be read, which may cover them. A table that cannot be read is left out.

    Args:
        lake: The lake.
        declared: The declarations.
        covered: The tables and subjects of the jobs that they declare.

    """
    for name in () if declared.broken else lake.names():
        try:
            head = lake.head_of(name)
        except LakeError:  # whoever reads the table meets it
            continue
        said = {} if head is None else head.properties
        owners = [key.removeprefix(OWNER_PREFIX) for key in said if key.startswith(OWNER_PREFIX)]
        for subject in owners:
            if (name, subject) not in covered and Owner.read(said, stream=subject).epoch:
                yield name, subject
