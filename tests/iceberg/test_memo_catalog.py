"""The catalog's own way of applying updates: the same as pyiceberg's, and nothing is shared to harm."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import NoSuchTableError
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

from headrace.api import Lake
from headrace.iceberg.applied import updated
from headrace.iceberg.memo_catalog import MemoCatalog
from headrace.iceberg.updates import make_ref, set_ref
from headrace.tables.refs import refs
from tests.tables.factories import EVENTS, add, events_table


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
    lambda t: set_ref(
        "main", make_ref(t.metadata.snapshots[0].snapshot_id, SnapshotRefType.BRANCH)
    ),
    lambda t: set_ref("v2", make_ref(t.metadata.snapshots[0].snapshot_id, SnapshotRefType.TAG)),
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
    ours = updated(table, updates, now_ms=time.time_ns() // 1_000_000)
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


@pytest.mark.parametrize("version", ["v0", "v1"])
def test_a_look_up_finds_tables_of_old_and_new_catalogs_and_no_views(
    tmp_path: Path, version: str
) -> None:
    uri, folder = f"sqlite:///{tmp_path / 'catalog.db'}", str(tmp_path)
    catalog = MemoCatalog("mine", uri=uri, warehouse=folder, schema_version=version)
    catalog.create_namespace("raw")
    made = catalog.create_table("raw.events", EVENTS)
    found = catalog.load_table(("raw", "events"))
    assert (found.name(), found.metadata) == (made.name(), made.metadata)
    stock = SqlCatalog("mine", uri=uri, warehouse=folder)
    assert stock.load_table("raw.events").metadata == made.metadata
    stock.close()
    others = MemoCatalog("other", uri=uri, warehouse=folder, schema_version=version)
    for catalog_asked, name in [
        (others, "raw.events"),
        (catalog, "raw.none"),
        (catalog, "x.events"),
    ]:
        with pytest.raises(NoSuchTableError):
            catalog_asked.load_table(name)
    if version == "v1":
        with catalog.engine.begin() as connection:
            connection.execute(sa.text("update iceberg_tables set iceberg_type = 'VIEW'"))
        with pytest.raises(NoSuchTableError):
            catalog.load_table("raw.events")
        with catalog.engine.begin() as connection:
            connection.execute(sa.text("update iceberg_tables set iceberg_type = null"))
        assert catalog.load_table("raw.events").metadata == made.metadata
    others.close()
    catalog.close()
