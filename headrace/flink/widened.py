"""A column of a followed table that became wider since its job began: the job cannot read it.

The job reads each file by the columns with which it was planned, and ends at a file whose column is wider.
Statements that are planned anew read it, and their state is no longer that of the savepoint.
"""

from collections.abc import Collection

from pyiceberg.table.metadata import TableMetadata


def widened(
    metadata: TableMetadata, *, table: str, schema_id: int | None, columns: Collection[str]
) -> str:
    """Say which of some columns has another type than in an earlier schema; empty if none has. Pure.

    Args:
        metadata: Of the table as it is now.
        table: Its name.
        schema_id: The schema with which a job began; nothing is known if it is None, or is there no more.
        columns: The names, in that schema, of the columns that the job reads.

    """
    then = next((each for each in metadata.schemas if each.schema_id == schema_id), None)
    now = {each.field_id: each for each in metadata.schema().fields}
    for field in () if then is None else then.fields:
        found = now.get(field.field_id)
        if field.name not in columns or found is None:
            continue
        before, after = str(field.field_type), str(found.field_type)
        if before != after:
            return (
                f"`{found.name}` of `{table}` is `{after}`, and was `{before}` when its job began"
            )
    return ""


def schema_at(metadata: TableMetadata, snapshot_id: int) -> int | None:
    """Return the schema by which a snapshot was written; None if it expired."""
    found = metadata.snapshot_by_id(snapshot_id)
    return None if found is None else found.schema_id
