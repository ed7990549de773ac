"""Refuses snapshots partitioned by a column that no schema has any more, before DuckDB reads them."""

from headrace.errors import Remedy, UnsupportedReason, UnsupportedTableError
from headrace.iceberg.partitions import sourceless_ids
from headrace.tables.version import TableVersion


def refuse_lost_columns(version: TableVersion) -> None:
    """Refuse files of a partition spec whose source column is in no schema.

    DuckDB 1.5.5 assumes the type null for such a partition value, cannot cast the value in the
    manifest, and ends the process. This may go when `test_duckdb_dies_of_a_lost_column` fails.

    Raises:
        UnsupportedTableError: If there is such a file; compaction rewrites it in the current spec.

    """
    lost = sourceless_ids(version.metadata)
    if lost and lost & version.live_spec_ids:
        raise UnsupportedTableError(
            str(version.name),
            "it has files of an older partition spec whose column no schema has any more, and DuckDB "
            "would end the process",
            reason=UnsupportedReason.PARTITION_COLUMN_LOST,
            remedy=Remedy.compact(str(version.name), advice="rewrite them in the current spec"),
        )
