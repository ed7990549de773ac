"""Jobs that tables say Flink writes, and that no declaration covers any more."""

from collections.abc import Collection, Iterator
from typing import Never

from headrace.definitions.load import Declarations
from headrace.definitions.properties import OWNER_PREFIX
from headrace.errors import LakeError, UndeclaredJobError
from headrace.flink.job import FlinkJob, JobStatus
from headrace.flink_access import FlinkAccess
from headrace.identifiers import TableName
from headrace.ingest.owner import Owner
from headrace.tables.lake import OpenLake


class UndeclaredJob(FlinkJob):
    """The job of a former declaration: its statements cannot be written, only whether it runs be told."""

    def __init__(
        self, lake: OpenLake, subject: str, table: TableName, *, access: FlinkAccess | None = None
    ) -> None:
        super().__init__(lake, access=access)
        self.subject, self.table_name = subject, table

    def sql(self, *, group: str, shown: bool = False) -> Never:
        """Refuse to write statements without a declaration.

        Raises:
            UndeclaredJobError: Always.

        """
        _ = group, shown
        raise UndeclaredJobError(self.subject, table=str(self.table_name), jobs=())

    def status(self) -> JobStatus:
        """Look whether a job runs; changes nothing.

        Raises:
            UndeclaredJobError: If one does.

        """
        owner = self.owner
        found = [each for each in self.manager.jobs(name=self.family()) if each.is_running]
        if found:
            jobs = tuple(f"{each.name} ({each.id})" for each in found)
            raise UndeclaredJobError(self.subject, table=str(self.table_name), jobs=jobs)
        return JobStatus(
            stream=self.subject, owner=owner.by, epoch=owner.epoch, job="", job_id="", health=None
        )


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
