"""Checks of a branch before it is published; each returns a text of the problem, empty if it passes."""

from collections.abc import Sequence

import pyarrow.compute as pc

from headrace.tables.publishing.publish import Check, Draft


def rows_at_least(count: int) -> Check:
    """Build a check that the branch wrote at least `count` rows."""

    def check(draft: Draft) -> str:
        found = sum(file.rows for file in draft.new_files())
        return "" if found >= count else f"{found} rows were written, expected at least {count}"

    return check


def readable() -> Check:
    """Build a check that everything the branch wrote can be read, page by page."""

    def check(draft: Draft) -> str:
        for _ in draft.new_rows():
            pass
        return ""

    return check


def not_null(columns: Sequence[str]) -> Check:
    """Build a check that no row the branch wrote has a null in one of `columns`."""

    def check(draft: Draft) -> str:
        nulls = dict.fromkeys(columns, 0)
        for batch in draft.new_rows(columns):
            for name in columns:
                nulls[name] += batch.column(name).null_count
        found = [f"`{name}` is null in {count} rows" for name, count in nulls.items() if count]
        return ", ".join(found)

    return check


def unique(columns: Sequence[str]) -> Check:
    """Build a check that no two rows of the branch, old or new, are equal in all of `columns`.

    Loads these columns of the whole table into memory.
    """

    def check(draft: Draft) -> str:
        names = list(columns)
        keys = draft.version.to_arrow(columns=names)
        counted = keys.group_by(names, use_threads=False).aggregate([([], "count_all")])
        twice = counted.filter(pc.greater(counted.column("count_all"), 1))
        if not twice.num_rows:
            return ""
        example = twice.select(names).slice(0, 1).to_pylist()[0]
        return (
            f"{twice.num_rows} values of {_listed(names)} occur more than once, such as {example}"
        )

    return check


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
