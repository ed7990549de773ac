"""Clean-up in a store of objects, without inodes, renames and links: nothing in it is of a disk."""

from collections.abc import Mapping
from typing import cast

import pytest
from pyiceberg.io import FileIO

from headrace.api import Lake
from headrace.errors import CleanupRefusedError
from headrace.maintenance.cleanup.cleanup import apply_cleanup, plan_cleanup
from headrace.maintenance.cleanup.trash import empty_trash, restore, trash_list
from headrace.storage import open as forms
from headrace.tables.lake import LakeTable
from headrace.tables.writer import write_batches
from tests.maintenance.cleanup.cleaning import kept, later, planned
from tests.maintenance.cleanup.needed import needed_by
from tests.storage.object_store import SCHEME, Bucket, MemoryFolders, MemoryIO
from tests.tables.factories import EVENTS, add, events, ids_of

LOCATION = f"{SCHEME}://bucket/raw/events"


@pytest.fixture
def bucket(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    bucket = Bucket()

    def load(properties: Mapping[str, str] = {}, location: str | None = None) -> FileIO:
        return MemoryIO(bucket)

    # there is no other store than the local one yet, so that no setting can choose one
    monkeypatch.setattr(lake.catalog, "_load_file_io", load)
    known = {**forms.FORMS, SCHEME: lambda io: MemoryFolders(cast("MemoryIO", io).bucket)}
    monkeypatch.setattr(forms, "FORMS", known)
    return bucket


@pytest.fixture
def table(lake: Lake, bucket: Bucket) -> LakeTable:
    lake.catalog.create_namespace_if_not_exists("raw")
    lake.catalog.create_table(("raw", "events"), EVENTS, location=LOCATION)
    return lake.table("raw.events")


def abandon(table: LakeTable, count: int) -> set[str]:
    files = [f for i in range(count) for f in write_batches(table, [events([900 + i])])]
    table.lake.registry.end_writes([w.write_id for w in table.lake.registry.writes()])
    return {file.file_path for file in files}


def contents(bucket: Bucket) -> dict[str, bytes]:
    return {location: each.content for location, each in bucket.objects.items()}


def test_files_that_no_one_needs_go_and_come_back(table: LakeTable, bucket: Bucket) -> None:
    for i in range(3):
        add(table, [i])
    left = abandon(table, 2)
    before = contents(bucket)
    needed = needed_by(table.iceberg())
    assert before.keys() == needed | left
    plan = plan_cleanup(table, now=later())
    assert planned(plan) == left
    assert kept(plan) == {"referenced": len(needed), "in flight": 0, "too young": 0, "foreign": 0}
    assert plan.bytes == sum(len(before[location]) for location in left)
    done = apply_cleanup(table, plan, now=later())
    assert (done.files, done.left) == (2, ())
    assert {each for each in bucket.objects if "/.trash/" not in each} == needed
    assert ids_of(table) == [0, 1, 2]
    (run,) = trash_list(table)
    assert restore(table, run.run_id, now=later()).files == 2
    assert contents(bucket) == before
    assert trash_list(table) == ()


def test_a_file_that_was_replaced_since_the_plan_stays(table: LakeTable, bucket: Bucket) -> None:
    (location,) = abandon(table, 1)
    plan = plan_cleanup(table, now=later())
    bucket.put(location, b"what another writer put there")
    done = apply_cleanup(table, plan, now=later())
    assert (done.files, [f"{plan.location}/{path}" for path in done.left]) == (0, [location])
    assert location in bucket.objects


def test_an_emptied_trash_leaves_what_is_needed_only(table: LakeTable, bucket: Bucket) -> None:
    add(table, [1])
    abandon(table, 2)
    apply_cleanup(table, plan_cleanup(table, now=later()), now=later())
    (run,) = empty_trash(table, now=later(10_000))
    assert len(run.files) == 2
    assert bucket.objects.keys() == needed_by(table.iceberg())


def test_a_lost_data_file_stops_clean_up(table: LakeTable, bucket: Bucket) -> None:
    add(table, [1])
    (file,) = table.head().files()
    del bucket.objects[file.path]
    with pytest.raises(CleanupRefusedError) as raised:
        plan_cleanup(table, now=later())
    assert raised.value.table == "raw.events"
