"""A column of a followed table that became wider since its job began: the job cannot read it.

The job reads each file by the columns with which it was planned, and ends at a file whose column is wider.
Statements that are planned anew read it, and their state is no longer that of the savepoint.
"""

from collections.abc import Collection

from pyiceberg.table.metadata import TableMetadata


def widened(
    metadata: TableMetadata,
    *,
    table: str,
    schema_id: int | None,
    snapshot_id: int,
    columns: Collection[str],
) -> str:
    """Say which of some columns has another type than when a job began; empty if none has. Pure.

    Args:
        metadata: Of the table as it is now.
        table: Its name.
        schema_id: The schema with which the job began; None if an earlier version began it.
        snapshot_id: The snapshot with which it began; by its schema, as long as it is there, if no other is known.
        columns: The names, in that schema, of the columns that the job reads.

    """
    if schema_id is None:
        began = metadata.snapshot_by_id(snapshot_id)
        schema_id = None if began is None else began.schema_id
    then = next((each for each in metadata.schemas if each.schema_id == schema_id), None)
    now = {each.field_id: each for each in metadata.schema().fields}
    for field in () if then is None else then.fields:
        found = now.get(field.field_id)
        if field.name not in columns or found is None:
            continue
        before, after = str(field.field_type), str(found.field_type)
        if before != after:
            return (
                f"`{found.name}` of `{table}` is `{after}`, and was `{before}` when its job began, which "
                "ends at a file of such values"
            )
    return ""
