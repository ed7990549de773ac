"""The snapshot summary of a commit: counts, totals, offsets, touched partitions, provenance."""

import json
from collections.abc import Mapping, Sequence

from pyiceberg.manifest import DataFile, DataFileContent
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Snapshot, Summary

from headrace.definitions.properties import MOVES, OFFSETS_PREFIX, PARTITIONS
from headrace.iceberg import partitions
from headrace.iceberg.partitions import PartitionKey
from headrace.tables.commits.change import Change
from headrace.tables.history.property_log import moves_of

_PARTITIONS_IN_SUMMARY_MAX = 64
_COUNTED = {
    DataFileContent.DATA: ("data-files", "records"),
    DataFileContent.POSITION_DELETES: ("delete-files", "position-deletes"),
    DataFileContent.EQUALITY_DELETES: ("delete-files", "equality-deletes"),
}
# the format's names for counts of removed things
_REMOVED = {
    "data-files": "deleted-data-files",
    "records": "deleted-records",
    "delete-files": "removed-delete-files",
    "position-deletes": "removed-position-deletes",
    "equality-deletes": "removed-equality-deletes",
    "files-size": "removed-files-size",
}


def summarize(
    change: Change,
    *,
    removed: Sequence[DataFile],
    parent: Snapshot | None,
    metadata: TableMetadata,
    properties: Mapping[str, str | None],
) -> Summary:
    """Summarize a commit on top of `parent` that sets the table properties `properties`.

    Totals that another program left out stay out.
    """
    before = parent.summary.additional_properties if parent and parent.summary else {}
    plus, minus = _counts(change.added), _counts(removed)
    entries: dict[str, str] = {}
    for name, removed_name in _REMOVED.items():
        if plus[name]:
            entries[f"added-{name}"] = str(plus[name])
        if minus[name]:
            entries[removed_name] = str(minus[name])
        if parent is None or f"total-{name}" in before:
            total = int(before.get(f"total-{name}", 0)) + plus[name] - minus[name]
            entries[f"total-{name}"] = str(total)
    if change.fence is not None:
        entries[OFFSETS_PREFIX + change.fence.key] = json.dumps(
            {k: v for k, v in change.fence.offsets.items() if change.fence.expected.get(k) != v}
        )
    moves = moves_of(metadata.properties, properties)
    if moves:
        entries[MOVES] = json.dumps(moves, sort_keys=True)
    touched = keys_of((*change.added, *removed), metadata) | (change.touched or frozenset())
    if len(touched) <= _PARTITIONS_IN_SUMMARY_MAX:
        entries[PARTITIONS] = json.dumps(sorted(partitions.key_to_text(key) for key in touched))
    return Summary(operation=change.operation, **entries, **change.provenance.summary())


def keys_of(files: Sequence[DataFile], metadata: TableMetadata) -> frozenset[PartitionKey]:
    """Return the partitions of files, each by its own spec."""
    terms = partitions.all_terms(metadata)
    return frozenset(partitions.key_of_record(f.partition, terms[f.spec_id]) for f in files)


def _counts(files: Sequence[DataFile]) -> Mapping[str, int]:
    counts = dict.fromkeys(_REMOVED, 0)
    for file in files:
        files_name, rows_name = _COUNTED[file.content]
        counts[files_name] += 1
        counts[rows_name] += file.record_count
        counts["files-size"] += file.file_size_in_bytes
    return counts
