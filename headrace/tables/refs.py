"""Tags: names that keep a snapshot alive."""

import re

from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table.refs import SnapshotRefType

from headrace.errors import CommitConflictError, InvalidNameError, SnapshotNotFoundError
from headrace.tables.lake import LakeTable
from headrace.tables.locks import table_lock

_TAG = re.compile(r"[a-z_][a-z0-9_-]{0,126}")
_ATTEMPTS_MAX = 8


def tags(table: LakeTable) -> dict[str, int]:
    """Return the snapshot id of every tag."""
    return {
        name: ref.snapshot_id
        for name, ref in sorted(table.iceberg().metadata.refs.items())
        if ref.snapshot_ref_type == SnapshotRefType.TAG
    }


def tag(table: LakeTable, name: str, *, snapshot_id: int) -> None:
    """Name a snapshot, which then never expires. The same tag again changes nothing.

    Raises:
        InvalidNameError: If the name is not lower-case letters, digits, `_` and `-`.
        SnapshotNotFoundError: If the snapshot is gone.
        CommitConflictError: If the name points elsewhere already.

    """
    if not _TAG.fullmatch(name):
        raise InvalidNameError(name, kind="tag")
    with table_lock(table.lake, table.name):
        for _ in range(_ATTEMPTS_MAX):
            current = table.iceberg()
            found = current.metadata.refs.get(name)
            if found is not None:
                if found.snapshot_ref_type != SnapshotRefType.TAG:
                    raise CommitConflictError(str(table.name), f"`{name}` is a branch already")
                if found.snapshot_id == snapshot_id:
                    return
                detail = f"`{name}` already points to snapshot {found.snapshot_id}"
                raise CommitConflictError(str(table.name), detail)
            if current.metadata.snapshot_by_id(snapshot_id) is None:
                raise SnapshotNotFoundError(str(table.name), f"snapshot {snapshot_id}")
            try:
                current.manage_snapshots().create_tag(snapshot_id, name).commit()
            except CommitFailedException:
                continue
            return
    raise CommitConflictError(str(table.name), f"tag `{name}` lost every race with other commits")
