"""Refuses the kinds of deletes that DuckDB misreads."""

from pyiceberg.manifest import DataFile

from headrace.errors import Remedy, UnsupportedReason, UnsupportedTableError
from headrace.iceberg import partitions
from headrace.iceberg.delete_files import has_equality, is_global
from headrace.tables.version import TableVersion


def refuse_misread_deletes(version: TableVersion) -> None:
    """Refuse a version in which DuckDB would drop rows that are not deleted.

    Raises:
        UnsupportedTableError: If there may be such rows; compaction rewrites the files so that they are read right.

    """
    if version.summary.get("total-equality-deletes") != "0":
        _refuse_lost_nulls(version)
        _refuse_spread_deletes(version)


def _refuse_lost_nulls(version: TableVersion) -> None:
    """Refuse equality deletes on a column that is null in other rows.

    As soon as any equality delete on a column applies to a file, DuckDB 1.5.5 drops every row of it
    in which that column is null. This may go when `test_duckdb_takes_nulls_away` fails.
    """
    for file in version.files():
        for deletes in file.deletes:
            if has_equality([deletes]) and _may_be_null(file.data_file, deletes):
                detail = (
                    f"rows of `{file.path}` are deleted by the value of a column that is null in "
                    "others, and DuckDB would take those away too"
                )
                name = str(version.name)
                raise UnsupportedTableError(
                    name,
                    detail,
                    reason=UnsupportedReason.EQUALITY_DELETES_BESIDE_NULLS,
                    path=file.path,
                    remedy=Remedy.compact(name),
                )


def _refuse_spread_deletes(version: TableVersion) -> None:
    """Refuse equality deletes in one partition of several.

    DuckDB 1.5.5 applies an equality delete to the whole table, although it belongs to one partition.
    If it compares every column that its spec partitions by, its values occur in no other partition
    of that spec and no row is lost; but it must not apply to files of another spec.
    This may go when `test_duckdb_takes_rows_of_other_partitions_away` fails.
    """
    places = {(file.spec_id, file.partition) for file in version.files()}
    unpartitioned = partitions.unpartitioned_ids(version.metadata)
    specs = partitions.all_terms(version.metadata)
    for deletes in version.delete_files():
        if not has_equality([deletes]) or is_global(deletes, unpartitioned=unpartitioned):
            continue
        own = partitions.key_of_record(deletes.partition, specs[deletes.spec_id])
        others = places - {(deletes.spec_id, own)}
        if _names_its_partition(version, deletes):
            others = {place for place in others if place[0] != deletes.spec_id}
        if others:
            detail = (
                f"`{deletes.file_path}` deletes by value in one partition, and DuckDB would "
                "take such rows from all of them"
            )
            name = str(version.name)
            raise UnsupportedTableError(
                name,
                detail,
                reason=UnsupportedReason.EQUALITY_DELETES_IN_ONE_PARTITION,
                path=deletes.file_path,
                remedy=Remedy.compact(name),
            )


def _names_its_partition(version: TableVersion, deletes: DataFile) -> bool:
    fields = partitions.partitioning_fields(version.metadata.specs()[deletes.spec_id])
    return {each.source_id for each in fields} <= set(deletes.equality_ids or ())


def _may_be_null(file: DataFile, deletes: DataFile) -> bool:
    nulls = file.null_value_counts or {}
    return any(nulls.get(column, 1) for column in deletes.equality_ids or ())
