"""Clean-up beside others: what tables, catalogs and engines that share files need stays."""

import gzip
import json
import shutil
import uuid
from pathlib import Path

import pyarrow as pa
import pytest
from pyiceberg.catalog.sql import SqlCatalog

from headrace.api import Lake
from headrace.config import Settings
from headrace.errors import CleanupReason, CleanupRefusedError
from headrace.maintenance.cleanup.cleanup import plan_cleanup
from headrace.storage.locations import local_path
from headrace.tables.commits import operations
from headrace.tables.commits.operations import Provenance
from headrace.tables.writer import write_batches
from tests.maintenance.cleanup.cleaning import abandon, clean, keeping, kept, later, planned
from tests.maintenance.cleanup.needed import files_below, folder_of, needed_by
from tests.raising import refused
from tests.tables.factories import add, events, events_table, ids_of

pytestmark = pytest.mark.slow


def test_what_a_dropped_table_left_in_the_folder_stays(lake: Lake) -> None:
    table = events_table(lake)
    add(table, [1])
    left = files_below(folder_of(table))
    lake.catalog.drop_table("raw.events")
    table = events_table(lake)
    add(table, [2])
    clean(table)
    assert left <= files_below(folder_of(table))
    assert ids_of(table) == [2]


def test_tables_that_share_a_folder_keep_each_others_files(lake: Lake) -> None:
    table = events_table(lake)
    add(table, [1])
    clone = lake.catalog.register_table("raw.clone", table.iceberg().metadata_location)
    files = write_batches(table, [events([2])])
    operations.overwrite(table, files, provenance=Provenance())
    few = Settings(**{**lake.settings.__dict__, "snapshots_kept": 1})
    with Lake.open(few) as impatient:
        for i in range(5):
            add(impatient.table("raw.events"), [10 + i])
            add(impatient.table("raw.clone"), [20 + i])
        orphans = abandon(impatient.table("raw.clone"))
    for each in (table, lake.table("raw.clone")):
        needed = needed_by(table.iceberg()) | needed_by(lake.catalog.load_table("raw.clone"))
        assert planned(plan_cleanup(each, now=later())) & needed == set()
        assert orphans <= planned(plan_cleanup(each, now=later()))
    clean(table)
    assert files_below(folder_of(table)) >= needed
    assert ids_of(table) == [2, *range(10, 15)]
    assert ids_of(lake.table("raw.clone")) == [1, *range(20, 25)]
    assert clone.location() == table.iceberg().location()


def test_a_file_that_a_table_elsewhere_refers_to_stays(lake: Lake) -> None:
    table = events_table(lake)
    add(table, [1])
    (borrowed,) = table.head().files()
    other = events_table(lake, "other.events")
    operations.append(other, [borrowed.data_file], provenance=Provenance())
    with Lake.open(keeping(lake.settings, 1)) as few:
        for i in range(4):
            files = write_batches(few.table("raw.events"), [events([10 + i])])
            operations.overwrite(few.table("raw.events"), files, provenance=Provenance())
    assert borrowed.path not in needed_by(table.iceberg())
    assert clean(table).files > 0
    assert ids_of(other) == [1]


def test_tables_inside_the_folder_stay_whether_the_catalog_knows_them_or_not(
    lake: Lake, tmp_path: Path
) -> None:
    table = events_table(lake)
    data = folder_of(table) / "data"
    inside = lake.catalog.create_table(
        "raw.inside", table.iceberg().schema(), location=f"file://{data}/inside"
    )
    inside.append(pa.Table.from_batches([events([1])]).cast(inside.scan().to_arrow().schema))
    stranger = SqlCatalog("s", uri=f"sqlite:///{tmp_path}/s.db", warehouse=f"file://{data}")
    stranger.create_namespace("strange")
    unknown = stranger.create_table(
        "strange.one", table.iceberg().schema(), location=f"file://{data}/deep/er/unknown"
    )
    delta = data / "delta"
    for path in (delta / "_delta_log" / "0.json", delta / "part-0.parquet"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    stray = Path(local_path(unknown.location())) / "data" / "stray.parquet"
    stray.parent.mkdir(exist_ok=True)
    stray.write_text("not ours to judge")
    before = files_below(data)
    stranger.engine.dispose()
    plan = plan_cleanup(table, now=later())
    assert not plan
    assert kept(plan)["foreign"] == 3  # folders
    clean(table)
    assert files_below(data) == before


def test_another_catalogs_table_in_the_same_folder_keeps_its_files(
    lake: Lake, tmp_path: Path
) -> None:
    table = events_table(lake)
    add(table, [1])
    stranger = SqlCatalog("s", uri=f"sqlite:///{tmp_path}/s.db", warehouse="file:///nowhere")
    stranger.create_namespace("n")
    other = stranger.create_table(
        "n.t", table.iceberg().schema(), location=table.iceberg().location()
    )
    rows = pa.Table.from_batches([events([1])]).cast(other.scan().to_arrow().schema)
    other.append(rows)
    other.append(rows)
    orphans = abandon(table)
    assert planned(plan_cleanup(table, now=later())) == orphans
    clean(table)
    assert len(other.refresh().scan().to_arrow()) == 2
    stranger.engine.dispose()


def test_a_folder_that_is_a_table_of_another_format_too_is_refused(lake: Lake) -> None:
    table = events_table(lake)
    abandon(table)
    (folder_of(table) / "_delta_log").mkdir()
    with refused(CleanupRefusedError, reason=CleanupReason.OTHER_FORMAT):
        plan_cleanup(table, now=later())


def test_an_unreadable_table_of_the_catalog_stops_the_clean_up(lake: Lake) -> None:
    table = events_table(lake)
    abandon(table)
    other = events_table(lake, "raw.other")
    location = Path(local_path(other.iceberg().metadata_location))
    with Lake.open(lake.settings) as fresh:
        content = location.read_bytes()
        for damage in (lambda: location.write_bytes(b"{"), location.unlink):
            damage()
            with refused(
                CleanupRefusedError, reason=CleanupReason.OTHER_TABLE_UNREADABLE, other="raw.other"
            ):
                plan_cleanup(fresh.table("raw.events"), now=later())
        location.write_bytes(content)
        assert plan_cleanup(fresh.table("raw.events"), now=later())


def test_compressed_metadata_of_an_unknown_table_is_understood(lake: Lake) -> None:
    table = events_table(lake)
    add(table, [1])
    location = Path(local_path(table.iceberg().metadata_location))
    content = json.loads(location.read_bytes())
    orphans = abandon(table)
    unknown = content | {"table-uuid": str(uuid.uuid4()), "metadata-log": []}
    path = location.with_name("00000-x.gz.metadata.json")
    path.write_bytes(gzip.compress(json.dumps(unknown).encode()))
    lake.catalog.drop_table("raw.events")
    table = events_table(lake)
    plan = plan_cleanup(table, now=later())
    assert planned(plan) == orphans


def test_the_version_an_engine_without_a_catalog_reads_stays(settings: Settings) -> None:
    with Lake.open(keeping(settings, 1)) as lake:
        table = events_table(lake)
        add(table, [1])
        first = table.head()
        metadata = folder_of(table) / "metadata"
        shutil.copy(first.metadata_location, metadata / "v7.metadata.json")
        (metadata / "version-hint.text").write_text("7\n")
        for i in range(4):
            files = write_batches(table, [events([10 + i])])
            operations.overwrite(table, files, provenance=Provenance())
        assert clean(table).files > 0
        assert first.to_arrow().column("id").to_pylist() == [1]
        (metadata / "version-hint.text").unlink()
        assert first.files()[0].path in planned(plan_cleanup(table, now=later()))
