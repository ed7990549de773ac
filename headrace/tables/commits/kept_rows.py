"""Rows that a job of Flink keeps in a Paimon table too, which would not hear of their removal."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Self

from headrace.definitions.keyed_form import SUBJECT
from headrace.definitions.properties import KEYED_BEGIN_PREFIX, OWNER_PREFIX, ROLLED_BACK
from headrace.errors import KeyedRowsError
from headrace.tables.history.ancestry import Ancestry

KEEPS_ROWS = frozenset({"append", "replace"})  # operations of commits that remove no row
_OF_KEYED = OWNER_PREFIX + SUBJECT
_FLINK = "flink"


def refuse_removal(table: str, properties: Mapping[str, str]) -> None:
    """Refuse to remove rows of a table that a job follows which keeps the newest of each key.

    Raises:
        KeyedRowsError: If there is one.

    """
    for key, value in properties.items():
        if key.startswith(_OF_KEYED) and json.loads(value).get("by") == _FLINK:
            raise KeyedRowsError(table, subject=key.removeprefix(OWNER_PREFIX))


@dataclass(frozen=True, kw_only=True)
class RolledBack:
    """A snapshot that `main` had and has no more, and when it became the newest, by the table's log."""

    snapshot_id: int
    logged_ms: int

    @classmethod
    def read(cls, properties: Mapping[str, str]) -> Self | None:
        """Read what a version of a table says of rollbacks that its log has no more; None if nothing."""
        said = properties.get(ROLLED_BACK)
        return None if said is None else cls(**json.loads(said))


def note_rolled_back(history: Ancestry) -> dict[str, str]:
    """Return the entry of table properties that says what was rolled back last, before expiry cuts the log.

    Empty if nothing was by the log, or no job ever kept rows of the table.

    Raises:
        DatabaseUnavailableError: If the registry is needed and unavailable.

    """
    metadata = history.metadata
    if not any(name.startswith(KEYED_BEGIN_PREFIX) for name in metadata.properties):
        return {}
    parents = {each.snapshot_id: each.parent_snapshot_id for each in metadata.snapshots}
    head, at = metadata.current_snapshot_id, metadata.current_snapshot_id
    line: set[int | None] = set()
    while at in parents:
        line.add(at)
        at = parents[at]
    for entry in reversed(metadata.snapshot_log):
        is_on_main = entry.snapshot_id in line or (
            head is not None and history.path(head, back_to=entry.snapshot_id) is not None
        )
        if not is_on_main:
            found = RolledBack(snapshot_id=entry.snapshot_id, logged_ms=entry.timestamp_ms)
            return {ROLLED_BACK: json.dumps(asdict(found), sort_keys=True)}
    return {}
