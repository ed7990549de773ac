"""The one kind of delete that DuckDB reads wrong, refused before it does."""

from pyiceberg.manifest import DataFile

from headrace.errors import UnsupportedTableError
from headrace.tables.deletes import has_equality
from headrace.tables.scan import TableVersion


def refuse_lost_nulls(version: TableVersion) -> None:
    """Refuse a version of which DuckDB would drop rows that are not deleted.

    DuckDB 1.5.5 takes every row whose compared column is null for deleted once any delete by value
    of that column applies to its file. This may go when `test_duckdb_takes_nulls_away` fails.

    Raises:
        UnsupportedTableError: If such rows may be there; compaction writes them right.

    """
    if version.summary.get("total-equality-deletes") == "0":
        return
    for file in version.files():
        for deletes in file.deletes:
            if has_equality([deletes]) and _may_be_null(file.data_file, deletes):
                detail = (
                    f"rows of `{file.path}` are deleted by the value of a column that is null in "
                    "others, and DuckDB would take those away too; write them anew with "
                    f"`headrace tables compact {version.name} --apply`"
                )
                raise UnsupportedTableError(str(version.name), detail)


def _may_be_null(file: DataFile, deletes: DataFile) -> bool:
    nulls = file.null_value_counts or {}
    return any(nulls.get(column, 1) for column in deletes.equality_ids or ())
