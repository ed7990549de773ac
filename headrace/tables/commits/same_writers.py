"""Who writes a table must be the same when a commit lands as when it was staged.

Guards judge the table that a commit is staged upon. A handover changes properties alone, no snapshot, so
requirements on branches do not see it; nor do locks where the two programs share none: lock files are of one
host, and a lock in a database ends with its connection.
"""

from collections.abc import Mapping

from pydantic import Field
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.update import AssertTableUUID
from typing_extensions import override

from headrace.definitions.properties import (
    BEGUN_PREFIX,
    EPOCH_PREFIX,
    OFFSETS_PREFIX,
    OWNER_PREFIX,
    PAIMON,
)

_JUDGED = (OWNER_PREFIX, EPOCH_PREFIX, BEGUN_PREFIX, OFFSETS_PREFIX, PAIMON)


class SameWriters(AssertTableUUID):
    """The table is the same, and says the same of its writers; a catalog on a server asks for the first only."""

    said: dict[str, str] = Field(exclude=True)

    @classmethod
    def of(cls, metadata: TableMetadata) -> "SameWriters":
        """Require what the metadata says."""
        return cls(uuid=metadata.table_uuid, said=_judged(metadata.properties))

    @override
    def validate(self, base_metadata: TableMetadata | None) -> None:
        super().validate(base_metadata)
        if base_metadata is not None and _judged(base_metadata.properties) != self.said:
            msg = "who writes the table, or how far, was changed concurrently"
            raise CommitFailedException(msg)


def _judged(properties: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in properties.items() if name.startswith(_JUDGED)}
