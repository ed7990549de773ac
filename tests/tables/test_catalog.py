"""The catalog's own way of applying updates: the same as pyiceberg's, and nothing is shared to harm."""

from collections.abc import Callable

import pytest
from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadataUtil
from pyiceberg.table.refs import SnapshotRefType
from pyiceberg.table.update import (
    AddSnapshotUpdate,
    RemovePropertiesUpdate,
    RemoveSnapshotRefUpdate,
    RemoveSnapshotsUpdate,
    SetPropertiesUpdate,
    TableUpdate,
    update_table_metadata,
)

from headrace.tables import catalog, refs
from headrace.tables.attempt import set_ref
from headrace.tables.lake import Lake
from tests.tables.factories import add, events_table


def _add_snapshot(table: Table) -> TableUpdate:
    last = table.metadata.snapshots[-1]
    changed = {
        "snapshot_id": last.snapshot_id + 1,
        "parent_snapshot_id": last.snapshot_id,
        "sequence_number": table.metadata.next_sequence_number(),
    }
    return AddSnapshotUpdate(snapshot=last.model_copy(update=changed))


UPDATES: list[Callable[[Table], TableUpdate]] = [
    _add_snapshot,
    lambda t: set_ref("main", t.metadata.snapshots[0].snapshot_id, kind=SnapshotRefType.BRANCH),
    lambda t: set_ref("v2", t.metadata.snapshots[0].snapshot_id, kind=SnapshotRefType.TAG),
    lambda _: SetPropertiesUpdate(updates={"a": "1"}),
    lambda _: RemovePropertiesUpdate(removals=["write.metadata.metrics.default"]),
    lambda _: RemoveSnapshotRefUpdate.model_validate({"ref-name": "v1"}),
    lambda t: RemoveSnapshotsUpdate.model_validate(
        {"snapshot-ids": [t.metadata.snapshots[1].snapshot_id]}
    ),
]


@pytest.mark.parametrize("update_of", UPDATES)
def test_updates_give_what_pyiceberg_gives_and_leave_the_base_as_it_was(
    lake: Lake, update_of: Callable[[Table], TableUpdate]
) -> None:
    handle = events_table(lake)
    first = add(handle, [1])
    for i in range(2, 5):
        add(handle, [i])
    refs.tag(handle, "v1", snapshot_id=first.snapshot_id)
    table = handle.iceberg()
    before = table.metadata.model_dump_json()
    updates = (update_of(table),)
    ours = catalog._updated(table, updates)
    theirs = update_table_metadata(
        table.metadata, updates, metadata_location=table.metadata_location
    )
    # both say now, a moment apart
    same_moment = {
        "last_updated_ms": theirs.last_updated_ms,
        "snapshot_log": theirs.snapshot_log,
    }
    assert ours.model_copy(update=same_moment) == theirs
    assert [each.snapshot_id for each in ours.snapshot_log] == [
        each.snapshot_id for each in theirs.snapshot_log
    ]
    assert TableMetadataUtil.parse_raw(ours.model_dump_json()) == ours
    assert table.metadata.model_dump_json() == before
