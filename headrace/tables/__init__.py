"""One Iceberg table done right: commits, files, reading at a snapshot, refs, schema changes.

Nothing here knows about streams, samples or datasets; engines and every later room build on it.
`compact` alone comes from above: `hr.tables.compact(table)` is what people call it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headrace.maintenance.compaction.any_table import compact

__all__ = ["compact"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a module's attributes are of any type
    if name not in __all__:
        msg = f"module `headrace.tables` has no attribute `{name}`"
        raise AttributeError(msg)
    return getattr(import_module("headrace.maintenance.compaction.any_table"), name)
