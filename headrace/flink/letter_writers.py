"""Which jobs of Flink wrote dead letters of a stream: the table has those of all streams."""

from collections.abc import Collection

from headrace.definitions.properties import LETTERS_SINCE_PREFIX
from headrace.flink.committed import commits_after
from headrace.iceberg import partitions
from headrace.ingest import dead_letters
from headrace.tables.history.commit_log import record_of
from headrace.tables.lake import OpenLake


def letter_writers(lake: OpenLake, *, stream: str, known: Collection[str]) -> tuple[str, ...]:
    """Return the jobs that wrote dead letters of a stream since it was given to Flink, but for `known` ones.

    A job writes the letters of one stream, so of each one commit with letters is read. Empty if an earlier
    version gave the stream to Flink: that one did not note since when.
    """
    if not lake.exists(dead_letters.TABLE):
        return ()
    table = lake.table(dead_letters.TABLE).iceberg()
    since = table.metadata.properties.get(LETTERS_SINCE_PREFIX + stream)
    if since is None:
        return ()
    ours, others = dict[str, None](), set(known)
    for job, snapshot in commits_after(table.metadata, sequence=int(since)):
        if job in others or job in ours:
            continue
        wrote = record_of(dead_letters.TABLE, snapshot, table.metadata, table.io).partitions
        if partitions.key_to_text((stream,)) in wrote:
            ours[job] = None
        elif wrote:
            others.add(job)
    return tuple(ours)
