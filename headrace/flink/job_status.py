"""What is known of a job."""

from dataclasses import dataclass

from headrace.errors import FlinkJobUnwellError
from headrace.flink.health import BEGINS_AGAIN, Health


@dataclass(frozen=True, kw_only=True)
class JobStatus:
    """What is known of a stream's job; `health` is None where headrace owns the stream."""

    stream: str
    owner: str
    epoch: int
    job: str
    job_id: str
    health: Health | None

    def refuse_unwell(self) -> None:
        """Refuse a job with faults.

        Raises:
            FlinkJobUnwellError: Naming each fault and the root exception.

        """
        faults = {} if self.health is None else self.health.faults
        if faults:
            again = not BEGINS_AGAIN.isdisjoint(faults)
            raise FlinkJobUnwellError(self.stream, job=self.job, faults=faults, begins_again=again)
