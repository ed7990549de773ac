"""Which checkpoints of which jobs are in a table, as the summaries of its snapshots say."""

from collections.abc import Collection, Iterator

from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Snapshot

from headrace.iceberg.retention import FLINK_JOB
from headrace.ingest.owner import FLINK, Owner

JOB, CHECKPOINT = FLINK_JOB, "flink.max-committed-checkpoint-id"


def committed_checkpoint(metadata: TableMetadata, *, jobs: Collection[str]) -> int:
    """Return the newest checkpoint of some jobs whose rows are in the table; 0 if there is none."""
    return max(
        (
            int(_said(snapshot, CHECKPOINT) or 0)
            for job, snapshot in commits_after(metadata, sequence=0)
            if job in jobs
        ),
        default=0,
    )


def writers_in(metadata: TableMetadata, owner: Owner) -> tuple[str, ...]:
    """Return the jobs of Flink that committed in an epoch, in order."""
    after = owner.since_sequence
    if after is None:  # an epoch that an earlier version began
        since = metadata.snapshot_by_id(owner.since_snapshot_id or 0)
        after = 0 if since is None else since.sequence_number or 0
    return tuple(dict.fromkeys(job for job, _ in commits_after(metadata, sequence=after)))


def all_writers(metadata: TableMetadata) -> frozenset[str]:
    """Return the jobs of Flink that committed to a table, as far back as its snapshots are there."""
    return frozenset(job for job, _ in commits_after(metadata, sequence=0))


def kept_for(metadata: TableMetadata, owner: Owner) -> tuple[Snapshot, ...]:
    """Return what does not expire because the job of an owner was stopped, oldest first.

    It is the newest commit of its jobs, which its sink looks for, and all that came after it.
    """
    jobs = owner.jobs if owner.savepoint else ()
    found = [each for job, each in commits_after(metadata, sequence=0) if job in jobs]
    newest = max((each.sequence_number or 0 for each in found), default=None)
    if newest is None:
        return ()
    return tuple(each for each in metadata.snapshots if (each.sequence_number or 0) >= newest)


def hides_commits(metadata: TableMetadata, *, jobs: Collection[str], since: int) -> bool:
    """Whether the sink of a job that starts again would not find what it committed, as it may have.

    It follows the parents of the head until there is a commit of its job; where one has expired the search
    ends, and what its state holds is committed again. Up to the sequence number `since` it committed nothing.
    """
    by_id = {each.snapshot_id: each for each in metadata.snapshots}
    if metadata.current_snapshot_id is None:
        return False
    found = by_id.get(metadata.current_snapshot_id)
    while found is not None:
        if _said(found, JOB) in jobs or (found.sequence_number or 0) <= since + 1:
            return False
        found = by_id.get(found.parent_snapshot_id or 0)  # some programs forget an expired parent
    return True


def begun(metadata: TableMetadata, *, epoch: int, by: str = FLINK) -> Owner:
    """Return the owner of an epoch that begins with a table as it is."""
    return Owner(by=by, epoch=epoch, since_sequence=sequence_of(metadata))


def sequence_of(metadata: TableMetadata) -> int:
    """Return a table's sequence number: its later snapshots have greater ones."""
    return max(0, metadata.next_sequence_number() - 1)  # the first format has none


def commits_after(metadata: TableMetadata, *, sequence: int) -> Iterator[tuple[str, Snapshot]]:
    """Yield the commits of jobs of Flink after a sequence number of the table, in order."""
    for each in metadata.snapshots:
        job = _said(each, JOB)
        if job and (each.sequence_number or 0) > sequence:
            yield job, each


def _said(snapshot: Snapshot, key: str) -> str | None:
    return None if snapshot.summary is None else snapshot.summary.additional_properties.get(key)
