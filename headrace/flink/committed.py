"""Which checkpoints of which jobs are in a table, as the summaries of its snapshots say."""

from collections.abc import Collection, Iterator, Mapping

from pyiceberg.table.metadata import TableMetadata

JOB, CHECKPOINT = "flink.job-id", "flink.max-committed-checkpoint-id"


def committed_checkpoint(metadata: TableMetadata, *, jobs: Collection[str]) -> int:
    """Return the newest checkpoint of some jobs whose rows are in the table; 0 if there is none."""
    return max((number for job, number in _commits(metadata) if job in jobs), default=0)


def writers_since(metadata: TableMetadata, *, snapshot_id: int | None) -> tuple[str, ...]:
    """Return the jobs of Flink that committed after a snapshot, in order; all if it is not there."""
    after = 0
    for each in metadata.snapshots:
        if each.snapshot_id == snapshot_id:
            after = each.sequence_number or 0
    found = dict.fromkeys(job for job, _ in _commits(metadata, after=after))
    return tuple(found)


def _commits(metadata: TableMetadata, *, after: int = 0) -> Iterator[tuple[str, int]]:
    for each in metadata.snapshots:
        if (each.sequence_number or 0) <= after or each.summary is None:
            continue
        said: Mapping[str, str] = each.summary.additional_properties
        if said.get(JOB):
            yield said[JOB], int(said.get(CHECKPOINT, "0"))
