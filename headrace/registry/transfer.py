"""Copies the records of one lake's registry to another's."""

import sqlalchemy as sa

from headrace.registry.registry import Registry
from headrace.registry.schema import (
    COMMITS,
    DATASET_VERSIONS,
    METADATA,
    OWNER,
    SOURCE_FILES,
    WRITES,
)

_BATCH_ROWS = 5_000
# whose database it is, and who writes at the moment, is true of one lake only
_STAYS = {OWNER.name, WRITES.name}
_COPIED = tuple(table for table in METADATA.sorted_tables if table.name not in _STAYS)


def copy_records(source: Registry, target: Registry) -> int:
    """Make the records of `target` those of `source`, in one transaction; return how many there are.

    Raises:
        DatabaseUnavailableError: If one is locked, full or out of reach; `target` is as it was.

    """
    copied = 0
    with source.engine.connect() as reading, target.engine.begin() as writing:
        for table in _COPIED:
            writing.execute(sa.delete(table))
            for rows in reading.execute(sa.select(table)).mappings().partitions(_BATCH_ROWS):
                writing.execute(sa.insert(table), [dict(row) for row in rows])
                copied += len(rows)
    return copied


def has_records(source: Registry, target: Registry) -> bool:
    """Whether `target` counts as many commits, dataset versions and source files as `source`."""
    return _counts(source) == _counts(target)


def _counts(registry: Registry) -> list[int]:
    with registry.engine.connect() as connection:
        return [
            connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
            for table in (COMMITS, DATASET_VERSIONS, SOURCE_FILES)
        ]
