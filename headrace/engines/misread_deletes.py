"""The kinds of deletes that DuckDB reads wrong, refused before it does."""

from pyiceberg.manifest import DataFile

from headrace.errors import UnsupportedTableError
from headrace.iceberg import partitions
from headrace.iceberg.delete_files import has_equality, is_global
from headrace.tables.version import TableVersion


def refuse_misread_deletes(version: TableVersion) -> None:
    """Refuse a version of which DuckDB would take rows away that are not deleted.

    Raises:
        UnsupportedTableError: If such rows may be there; compaction writes them right.

    """
    if version.summary.get("total-equality-deletes") != "0":
        _refuse_lost_nulls(version)
        _refuse_spread_deletes(version)


def _refuse_lost_nulls(version: TableVersion) -> None:
    """Refuse deletes by values of a column that is null in other rows.

    DuckDB 1.5.5 takes every row whose compared column is null for deleted once any delete by value
    of that column applies to its file. This may go when `test_duckdb_takes_nulls_away` fails.
    """
    for file in version.files():
        for deletes in file.deletes:
            if has_equality([deletes]) and _may_be_null(file.data_file, deletes):
                detail = (
                    f"rows of `{file.path}` are deleted by the value of a column that is null in "
                    "others, and DuckDB would take those away too; write them anew with "
                    f"`headrace tables compact {version.name} --apply`"
                )
                raise UnsupportedTableError(str(version.name), detail)


def _refuse_spread_deletes(version: TableVersion) -> None:
    """Refuse deletes by value in one partition of several.

    DuckDB 1.5.5 takes a delete by value for one of the whole table, though it belongs to one
    partition. Where it names every column that its spec partitions by, its values are in no other
    partition of that spec and nothing is lost; files of another spec are not its to touch at all.
    This may go when `test_duckdb_takes_rows_of_other_partitions_away` fails.
    """
    places = {(file.spec_id, file.partition) for file in version.files()}
    unpartitioned = partitions.unpartitioned_ids(version.metadata)
    schemes = partitions.all_terms(version.metadata)
    for deletes in version.delete_files():
        if not has_equality([deletes]) or is_global(deletes, unpartitioned=unpartitioned):
            continue
        own = partitions.key_of_record(deletes.partition, schemes[deletes.spec_id])
        others = places - {(deletes.spec_id, own)}
        if _is_told(version, deletes):
            others = {place for place in others if place[0] != deletes.spec_id}
        if others:
            detail = (
                f"`{deletes.file_path}` deletes by value in one partition, and DuckDB would "
                "take such rows from all of them; write them anew with "
                f"`headrace tables compact {version.name} --apply`"
            )
            raise UnsupportedTableError(str(version.name), detail)


def _is_told(version: TableVersion, deletes: DataFile) -> bool:
    fields = partitions.partitioning_fields(version.metadata.specs()[deletes.spec_id])
    return {each.source_id for each in fields} <= set(deletes.equality_ids or ())


def _may_be_null(file: DataFile, deletes: DataFile) -> bool:
    nulls = file.null_value_counts or {}
    return any(nulls.get(column, 1) for column in deletes.equality_ids or ())
