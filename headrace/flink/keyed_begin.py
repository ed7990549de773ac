"""What a keyed table rests on: the rows of its stream's table when its job began, and none removed since."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Self

from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Snapshot

from headrace.definitions.properties import KEYED_BEGIN_PREFIX
from headrace.errors import PaimonTableStaleError
from headrace.interop.paimon.client import PaimonWarehouse
from headrace.interop.paimon.shape import PaimonShape, refuse_other_shape
from headrace.interop.paimon.table import PaimonTable
from headrace.tables.commits.kept_rows import KEEPS_ROWS, RolledBack
from headrace.tables.lake import LakeTable


@dataclass(frozen=True, kw_only=True)
class KeyedBegin:
    """Of which snapshot a job took all rows, and when the Paimon table that it writes was created.

    Args:
        snapshot_id: The snapshot of the stream's table; the rows of later ones are followed.
        logged_ms: When it became the newest, by the table's log; it may have been so before.
        created_ms: The creation of the Paimon table.
        schema_id: The schema of the stream's table then; None if an earlier version began.

    """

    snapshot_id: int
    logged_ms: int
    created_ms: int
    schema_id: int | None = None

    @classmethod
    def of(cls, metadata: TableMetadata, *, created_ms: int) -> Self:
        """Begin with the newest snapshot of the stream's table, which has one."""
        assert metadata.current_snapshot_id is not None
        log = metadata.snapshot_log
        logged_ms = log[-1].timestamp_ms if log else 0
        return cls(
            snapshot_id=metadata.current_snapshot_id,
            logged_ms=logged_ms,
            created_ms=created_ms,
            schema_id=metadata.current_schema_id,
        )

    @classmethod
    def read(cls, properties: Mapping[str, str], *, table: str) -> Self | None:
        """Read what a version of the stream's table says of a Paimon table; None if no job began."""
        said = properties.get(KEYED_BEGIN_PREFIX + table)
        return None if said is None else cls(**json.loads(said))

    def note(self, *, table: str) -> dict[str, str]:
        """Return it as an entry of table properties."""
        return {KEYED_BEGIN_PREFIX + table: json.dumps(asdict(self), sort_keys=True)}


def removed_lately(metadata: TableMetadata, begin: KeyedBegin) -> str:
    """Say which commit that is still there took rows which a keyed table has; empty if none did. Pure."""
    line = _line(metadata, begin)
    for each in line:
        operation = each.summary.operation.value if each.summary else "append"
        if operation not in KEEPS_ROWS:
            return _removed(each.snapshot_id, operation)
    rolled_back = _log_since(metadata, begin) - {each.snapshot_id for each in line}
    before = RolledBack.read(metadata.properties)
    if before is not None and before.logged_ms > begin.logged_ms:
        rolled_back.add(before.snapshot_id)
    if rolled_back:
        return f"its stream's table was rolled back: snapshot {min(rolled_back)} is in it no more"
    is_there = any(each.snapshot_id == begin.snapshot_id for each in metadata.snapshots)
    if is_there and (line[-1].parent_snapshot_id if line else _head(metadata)) != begin.snapshot_id:
        return f"its stream's table was rolled back behind snapshot {begin.snapshot_id}"
    return ""


def removed_since(table: LakeTable, begin: KeyedBegin) -> str:
    """Say what took rows that a keyed table has, also where its snapshot has expired; empty if nothing did.

    Raises:
        DatabaseUnavailableError: If the registry is needed and unavailable.

    """
    metadata = table.iceberg().metadata
    found, line = removed_lately(metadata, begin), _line(metadata, begin)
    if found or not line or line[-1].parent_snapshot_id == begin.snapshot_id:
        return found
    expired = table.lake.registry.line_to(
        str(table.name), line[-1].snapshot_id, back_to=begin.snapshot_id
    )
    for each in expired.values():
        if each.operation not in KEEPS_ROWS:
            return _removed(each.snapshot_id, each.operation)
    if not any(each.parent_id == begin.snapshot_id for each in expired.values()):
        return f"what its stream's table had since snapshot {begin.snapshot_id} is not on record"
    return ""


def _log_since(metadata: TableMetadata, begin: KeyedBegin) -> set[int]:
    """Return the snapshots that were the newest after a job began, as far as they are there."""
    log = [(each.snapshot_id, each.timestamp_ms) for each in metadata.snapshot_log]
    began = (begin.snapshot_id, begin.logged_ms)
    if began in log:
        after = log[log.index(began) + 1 :]
    else:
        after = [each for each in log if each[1] > begin.logged_ms]
    return {snapshot_id for snapshot_id, _ in after} - {begin.snapshot_id}


def _line(metadata: TableMetadata, begin: KeyedBegin) -> tuple[Snapshot, ...]:
    """Return the commits since a job began, newest first, as far back as they are there."""
    there = {each.snapshot_id: each for each in metadata.snapshots}
    found: list[Snapshot] = []
    at = _head(metadata)
    while at != begin.snapshot_id and at in there:
        found.append(there[at])
        at = there[at].parent_snapshot_id
    return tuple(found)


def _head(metadata: TableMetadata) -> int | None:
    return metadata.current_snapshot_id


def _removed(snapshot_id: int, operation: str) -> str:
    did = "removed" if operation == "delete" else "replaced"
    return f"snapshot {snapshot_id} of its stream's table {did} rows, which it still has"


def opened(warehouse: PaimonWarehouse, name: str) -> PaimonTable | None:
    """Open the Paimon table; None if there is none."""
    return warehouse.listed(name) if name in warehouse.names() else None


def refuse_unfit(found: PaimonTable, shape: PaimonShape, *, subject: str) -> None:
    """Refuse to let a job begin with a Paimon table that is another, or that has rows already.

    Raises:
        PaimonTableDiffersError: If its columns, key or options are not the declared ones.
        PaimonTableStaleError: If it has rows.

    """
    refuse_other_shape(found.definition, shape, subject=subject)
    if found.snapshots():
        detail = "it has rows, and a job begins with none: what was removed meanwhile is not told"
        raise PaimonTableStaleError(shape.name, detail, subject=subject)


def refuse_made_again(
    found: PaimonTable | None, begin: KeyedBegin, name: str, *, subject: str
) -> None:
    """Refuse to let a job go on from its state where the Paimon table is not the one that it wrote.

    Raises:
        PaimonTableStaleError: If it was dropped: rows of before would be missing.

    """
    if found is None or found.created_ms() != begin.created_ms:
        detail = "it was dropped since its job began, and rows of before would be missing"
        raise PaimonTableStaleError(name, detail, subject=subject)
