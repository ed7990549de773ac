"""Rows of a table that a job follows and does not read: its source takes what is appended, and nothing else."""

from pyiceberg.table.metadata import TableMetadata

from headrace.tables.history.commit_log import facts_of
from headrace.tables.lake import LakeTable

_UPSERTS = "write.upsert.enabled"


def upserted(metadata: TableMetadata) -> str:
    """Say why commits of Flink to a table replace rows; empty if they append them. Pure.

    A job that writes such a table deletes rows of equal keys, and one that follows it would read no such commit.
    """
    schema = metadata.schema()
    if schema.identifier_field_ids:
        names = ", ".join(f"`{each}`" for each in sorted(schema.identifier_field_names()))
        return f"rows of its table replace those of equal {names}, its identifier fields"
    if metadata.properties.get(_UPSERTS, "false").lower() == "true":
        return f"rows of its table replace others, by its property `{_UPSERTS}`"
    return ""


def unread_since(table: LakeTable, snapshot_id: int) -> str:
    """Say which commit after a snapshot replaced rows, and so was not read; empty if none did.

    One that removes more rows than it adds rewrites what is left, and has nothing new. Those that expired
    are on record.

    Raises:
        DatabaseUnavailableError: If the registry is needed and unavailable.

    """
    metadata = table.iceberg().metadata
    there = {each.snapshot_id: each for each in metadata.snapshots}
    at, found = metadata.current_snapshot_id, list[int]()
    while at is not None and at != snapshot_id and at in there:
        found += [at] if facts_of(table.name, there[at]).replaces_rows else []
        at = there[at].parent_snapshot_id
    if not found and at != snapshot_id:
        found += table.lake.registry.replacing_since(str(table.name), snapshot_id)
    return f"snapshot {found[-1]} of `{table.name}` replaced rows" if found else ""
