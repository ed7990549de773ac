"""Where the job that writes a window view's rows begins: what was there by then, and what it follows."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Self

from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Operation

from headrace.definitions.properties import VIEW_BEGIN


@dataclass(frozen=True, kw_only=True)
class Begin:
    """The job writes the rows that are known after `after_us`.

    Args:
        after_us: The end of a tile; all events known before it are in `snapshot_id` of their table.
        snapshot_id: The first snapshot of the events that is followed.
        history_id: What is read first, all of it; None if there is nothing.
        schema_id: The schema of their table then; None if an earlier version began.
        table_uuid: That table, whatever has its name now; empty if an earlier version began.

    """

    after_us: int
    snapshot_id: int
    history_id: int | None
    schema_id: int | None = None
    table_uuid: str = ""

    @classmethod
    def at(cls, metadata: TableMetadata, *, after_us: int) -> Self:
        """Begin at the head of a table, which has one: what it appended is followed, what was there before is read first.

        The source passes over snapshots that are no appends. Of such a head all rows are read first:
        those before it would have what it deleted, and lack what it rewrote.
        """
        head = metadata.current_snapshot()
        assert head is not None
        appended = head.summary is not None and head.summary.operation is Operation.APPEND
        before = head.parent_snapshot_id if appended else head.snapshot_id
        return cls(
            after_us=after_us,
            snapshot_id=head.snapshot_id,
            history_id=before,
            schema_id=metadata.current_schema_id,
            table_uuid=str(metadata.table_uuid),
        )

    @classmethod
    def read(cls, properties: Mapping[str, str]) -> Self | None:
        """Read what a version of the feature table says; None if no job began."""
        said = properties.get(VIEW_BEGIN)
        return None if said is None else cls(**json.loads(said))

    def note(self) -> dict[str, str]:
        """Return it as an entry of table properties."""
        return {VIEW_BEGIN: json.dumps(asdict(self), sort_keys=True)}
