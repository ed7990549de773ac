"""Clean-up on a real S3 server: orphans go to the trash and come back, unfinished uploads go for good."""

import datetime as dt

import pytest

from headrace.api import Lake
from headrace.maintenance.cleanup.cleanup import apply_cleanup, plan_cleanup
from headrace.maintenance.cleanup.trash import empty_trash, restore, root_of, trash_list
from headrace.storage.s3_client import Key, S3Client
from headrace.tables.lake import LakeTable
from headrace.tables.writer import write_batches
from tests.maintenance.cleanup.cleaning import later, planned
from tests.s3 import S3Place
from tests.tables.factories import add, events, events_table, ids_of

pytestmark = pytest.mark.slow


@pytest.fixture
def table(s3_lake: Lake) -> LakeTable:
    table = events_table(s3_lake)
    add(table, [1, 2])
    return table


def abandon(table: LakeTable) -> str:
    (file,) = write_batches(table, [events([900])])
    table.lake.registry.end_writes([w.write_id for w in table.lake.registry.writes()])
    return file.file_path


def begin_upload(s3: S3Place, location: str) -> None:
    key = Key.of(location)
    assert key is not None
    S3Client.of(s3.properties)._call("create_multipart_upload", key)


def test_an_orphan_goes_to_the_trash_comes_back_and_goes_for_good(table: LakeTable) -> None:
    store, _ = root_of(table)
    orphan = abandon(table)
    content = store.read(orphan)
    plan = plan_cleanup(table, now=later())
    assert planned(plan) == {orphan}
    assert apply_cleanup(table, plan, now=later()).files == 1
    assert not store.exists(orphan)
    (run,) = trash_list(table)
    restore(table, run.run_id, now=later())
    assert store.read(orphan) == content
    assert trash_list(table) == ()
    apply_cleanup(table, plan_cleanup(table, now=later()), now=later())
    much_later = later() + dt.timedelta(days=30)
    assert len(empty_trash(table, now=much_later)) == 1
    assert trash_list(table) == ()
    assert ids_of(table) == [1, 2]


def test_a_file_in_flight_and_a_restored_one_are_young(table: LakeTable) -> None:
    abandon(table)
    assert not plan_cleanup(table, now=dt.datetime.now(dt.UTC))
    apply_cleanup(table, plan_cleanup(table, now=later()), now=later())
    restore(table, trash_list(table)[0].run_id)
    assert not plan_cleanup(table)


def test_old_uploads_that_were_never_completed_are_given_up(s3: S3Place, table: LakeTable) -> None:
    store, root = root_of(table)
    begin_upload(s3, f"{root}/data/event_time_day=2024-05-01/killed-00001.parquet")
    begin_upload(s3, f"{root}/metadata/killed.avro")
    begin_upload(s3, f"{root}-other/data/killed.parquet")
    begin_upload(s3, f"{root}/elsewhere/killed.parquet")
    assert not plan_cleanup(table).uploads
    plan = plan_cleanup(table, now=later())
    assert [each.path for each in plan.uploads] == [
        "data/event_time_day=2024-05-01/killed-00001.parquet",
        "metadata/killed.avro",
    ]
    assert apply_cleanup(table, plan, now=later()).uploads == 2
    assert [each.location for each in store.uploads(root)] == [f"{root}/elsewhere/killed.parquet"]
    assert len(store.uploads(f"{root}-other")) == 1
    assert not plan_cleanup(table, now=later())
