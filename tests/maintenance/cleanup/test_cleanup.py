"""Clean-up: what nobody needs goes to the trash, everything else stays, whoever needs it."""

import shutil
import uuid
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from pyiceberg.table.statistics import StatisticsFile
from pyiceberg.table.update import SetLocationUpdate

from headrace.api import Lake
from headrace.config import Settings
from headrace.errors import (
    CleanupReason,
    CleanupRefusedError,
    CleanupTooYoungError,
    CorruptFileError,
)
from headrace.identifiers import TableName
from headrace.maintenance.cleanup.cleanup import CleanupPlan, apply_cleanup, plan_cleanup
from headrace.maintenance.compaction.compact import compact
from headrace.storage.locations import local_path
from headrace.tables.commits import operations
from headrace.tables.commits.operations import Provenance
from headrace.tables.refs import refs
from headrace.tables.writer import write_batches
from tests.maintenance.cleanup.cleaning import (
    HOUR_S,
    abandon,
    age,
    clean,
    keeping,
    kept,
    later,
    planned,
)
from tests.maintenance.cleanup.needed import files_below, folder_of, needed_by
from tests.maintenance.processes import KILLED, run_writer, start_writer
from tests.raising import refused
from tests.tables.factories import EVENTS, add, day_key, events, events_table, ids_of
from tests.waiting import WAIT_S


def test_files_that_a_table_needs_stay_and_all_others_go(lake: Lake) -> None:
    table = events_table(lake)
    for i in range(12):
        add(table, [i], day=i % 3)
    compact(table)
    needed = needed_by(table.iceberg())
    assert needed == files_below(folder_of(table))
    assert not plan_cleanup(table, now=later())
    orphans = abandon(table)
    plan = plan_cleanup(table, now=later())
    assert planned(plan) == orphans
    assert plan.bytes == sum(Path(path).stat().st_size for path in orphans)
    assert plan.by_kind == {"data": (1, plan.bytes)}
    assert kept(plan) == {"referenced": len(needed), "in flight": 0, "too young": 0, "foreign": 0}
    (referenced, *_) = plan.kept
    assert referenced.bytes == sum(Path(path).stat().st_size for path in needed)
    done = apply_cleanup(table, plan, now=later())
    assert (done.files, done.bytes, done.left) == (1, plan.bytes, ())
    assert files_below(folder_of(table)) == needed
    assert ids_of(table) == list(range(12))
    assert not plan_cleanup(table, now=later())


def test_a_plan_changes_nothing(lake: Lake) -> None:
    table = events_table(lake)
    add(table, [1])
    abandon(table)
    before = files_below(lake.settings.warehouse)
    plan_cleanup(table, now=later())
    assert files_below(lake.settings.warehouse) == before
    assert not list(lake.settings.warehouse.rglob(".trash"))


def test_a_shorter_age_than_the_longest_job_is_refused(lake: Lake) -> None:
    table = events_table(lake)
    add(table, [1])
    orphans = abandon(table)
    with pytest.raises(CleanupTooYoungError) as raised:
        plan_cleanup(table, older_than_s=71 * HOUR_S, now=later())
    error = raised.value
    assert (error.asked_s, error.floor_s) == (71 * HOUR_S, 72 * HOUR_S)
    assert error.setting.endswith("cleanup_age_hours")
    plan = plan_cleanup(table, older_than_s=100 * HOUR_S, now=later(101))
    assert planned(plan) == orphans
    assert not plan_cleanup(table, older_than_s=100 * HOUR_S, now=later(99))
    forged = CleanupPlan(**{**plan.__dict__, "older_than_s": 0.0})
    with pytest.raises(CleanupTooYoungError):
        apply_cleanup(table, forged, now=later())


def test_the_age_is_a_setting(settings: Settings) -> None:
    short = Settings(**{**settings.__dict__, "cleanup_age_hours": 1})
    with Lake.open(short) as lake:
        table = events_table(lake)
        orphans = abandon(table)
        assert not plan_cleanup(table, now=later(0.9))
        assert kept(plan_cleanup(table, now=later(0.9)))["too young"] == 1
        assert planned(plan_cleanup(table, now=later(1.1))) == orphans


def test_what_a_killed_writer_left_is_found_and_removed(settings: Settings) -> None:
    with Lake.open(settings) as lake:
        table = events_table(lake)
        add(table, [1])
        needed = files_below(folder_of(table))
        assert run_writer(settings, crash_at="commit.after_manifests") == KILLED
        left = files_below(folder_of(table)) - needed
        assert len(left) == 3  # a data file, a manifest and a manifest list
        assert len(lake.registry.writes()) == 1
        plan = plan_cleanup(table, now=later())
        assert planned(plan) == left
        assert set(plan.by_kind) == {"data", "manifest", "manifest list"}
        apply_cleanup(table, plan, now=later())
        assert files_below(folder_of(table)) == needed
        assert lake.registry.writes() == []


def test_files_in_flight_stay_however_old_and_their_commit_lands(settings: Settings) -> None:
    with Lake.open(settings) as lake:
        table = events_table(lake)
        process, writer = start_writer(settings)
        (path,) = writer.recv()
        age(path, hours=1000)
        plan = plan_cleanup(table, now=later(10_000))
        assert not plan
        assert kept(plan)["in flight"] == 1
        clean(table, hours=10_000)
        writer.send("commit now")
        process.join(WAIT_S)
        assert process.exitcode == 0
        assert ids_of(table) == [7]


def test_files_of_tags_and_branches_stay_and_those_of_expired_snapshots_go(
    settings: Settings,
) -> None:
    with Lake.open(keeping(settings, 1)) as lake:
        table = events_table(lake)
        tagged, branched, lost = (add(table, [i]).snapshot_id for i in range(3))
        refs.tag(table, "v1", snapshot_id=tagged)
        table.iceberg().manage_snapshots().create_branch(branched, "audit").commit()
        for i in range(5):
            files = write_batches(table, [events([10 + i])])
            operations.overwrite(table, files, provenance=Provenance())
        assert table.iceberg().metadata.snapshot_by_id(lost) is None
        needed = needed_by(table.iceberg())
        assert needed < files_below(folder_of(table))
        clean(table)
        assert files_below(folder_of(table)) == needed
        assert table.at(tag="v1").to_arrow().column("id").to_pylist() == [0]
        assert table.at(snapshot_id=branched).row_count == 2
        assert ids_of(table) == [14]


def test_what_a_reader_may_have_pinned_stays_until_its_metadata_was_long_superseded(
    settings: Settings,
) -> None:
    with Lake.open(keeping(settings, 1)) as lake:
        table = events_table(lake)
        add(table, [1])
        pinned = table.head()
        for path in files_below(folder_of(table)):
            age(path, hours=500)  # this version was the newest for weeks, until a moment ago
        for i in range(4):
            files = write_batches(table, [events([10 + i])])
            operations.overwrite(table, files, provenance=Provenance())
        assert table.iceberg().metadata.snapshot_by_id(pinned.snapshot_id or 0) is None
        assert not plan_cleanup(table)
        clean(table, hours=71)
        assert pinned.to_arrow().column("id").to_pylist() == [1]
        plan = plan_cleanup(table, now=later(73))
        assert pinned.files()[0].path in planned(plan)


def test_metadata_files_that_no_log_names_go_once_they_are_old(lake: Lake) -> None:
    table = events_table(lake)
    add(table, [1])
    metadata = folder_of(table) / "metadata"
    lost_race = metadata / f"00009-{uuid.uuid4()}.metadata.json"
    shutil.copy(local_path(table.iceberg().metadata_location), lost_race)
    cut_short = metadata / f"00010-{uuid.uuid4()}.metadata.json"
    cut_short.write_bytes(b'{"loc')
    assert not plan_cleanup(table)
    assert planned(plan_cleanup(table, now=later())) == {str(lost_race), str(cut_short)}


def test_a_commit_between_plan_and_apply_keeps_its_files(lake: Lake) -> None:
    table = events_table(lake)
    add(table, [1])
    files = write_batches(table, [events([2])])
    lake.registry.end_writes([w.write_id for w in lake.registry.writes()])
    orphans = abandon(table)
    plan = plan_cleanup(table, now=later())
    assert len(plan.files) == 2
    operations.append(table, files, provenance=Provenance())
    done = apply_cleanup(table, plan, now=later())
    assert [f"{plan.location}/{path}" for path in done.left] == [local_path(files[0].file_path)]
    assert done.files == 1
    assert not Path(orphans.pop()).exists()
    assert ids_of(table) == [1, 2]


def test_a_file_written_anew_or_taken_back_into_flight_since_the_plan_stays(lake: Lake) -> None:
    table = events_table(lake)
    (anew,), (taken_up,), (gone,) = (abandon(table, [i]) for i in range(3))
    plan = plan_cleanup(table, now=later())
    assert planned(plan) == {anew, taken_up, gone}
    age(anew, hours=1)
    Path(gone).unlink()
    write_batches(events_table(lake, "raw.other"), [events([1])])
    (running,) = lake.registry.writes()
    lake.registry.begin_write(replace(running, write_id=Path(taken_up).name[:32]))
    done = apply_cleanup(table, plan, now=later())
    assert (done.run_id, done.files, len(done.left)) == (None, 0, 3)
    assert Path(anew).exists()
    assert Path(taken_up).exists()


def test_a_table_that_was_created_again_since_the_plan_is_not_touched(lake: Lake) -> None:
    table = events_table(lake)
    abandon(table)
    plan = plan_cleanup(table, now=later())
    lake.catalog.drop_table("raw.events")
    table = events_table(lake)
    before = files_below(folder_of(table))
    with refused(CleanupRefusedError, reason=CleanupReason.TABLE_RECREATED):
        apply_cleanup(table, plan, now=later())
    assert files_below(folder_of(table)) == before


def test_names_that_no_table_file_has_hidden_ones_and_links_are_left_alone(
    lake: Lake, tmp_path: Path
) -> None:
    table = events_table(lake)
    folder = folder_of(table)
    (orphan,) = abandon(table)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "x.parquet").write_text("x")
    left_alone = [
        folder / "x.parquet",
        folder / "landing" / "x.parquet",
        folder / "data" / "x.csv",
        folder / "data" / ".x.parquet",
        folder / "data" / "_x.parquet",
        folder / "data" / "_temporary" / "x.parquet",
        folder / "data" / ".hidden" / "x.parquet",
        folder / "metadata" / "version-hint.text",
        folder / "metadata" / "x.json",
    ]
    for path in left_alone:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    (folder / "data" / "away").symlink_to(elsewhere)
    (folder / "data" / "link.parquet").symlink_to(elsewhere / "x.parquet")
    linked = folder / "data" / "_source=a" / "linked.parquet"
    judged = folder / "data" / "_source=a" / "x.parquet"
    judged.parent.mkdir()
    for path in (linked, judged):
        path.write_text("x")
    (folder / "data" / "to.parquet").symlink_to(linked)
    before = files_below(folder)
    plan = plan_cleanup(table, now=later())
    assert planned(plan) == {orphan, str(judged)}
    clean(table)
    assert before - files_below(folder) == {orphan, str(judged)}
    assert (elsewhere / "x.parquet").exists()


def test_a_table_reached_through_a_link_needs_the_same_files(settings: Settings) -> None:
    real = settings.state_dir.with_name("real")
    real.mkdir()
    settings.state_dir.symlink_to(real)
    with Lake.open(settings) as lake:
        table = events_table(lake)
        add(table, [1])
        orphans = {str(Path(path).resolve()) for path in abandon(table)}
        assert planned(plan_cleanup(table, now=later())) == orphans
        clean(table)
        assert ids_of(table) == [1]


def test_folders_that_properties_name_are_judged_if_they_lie_below_the_table(lake: Lake) -> None:
    table = events_table(lake)
    folder = folder_of(table)
    with table.iceberg().transaction() as transaction:
        transaction.set_properties(
            {"write.data.path": f"file://{folder}/rows", "write.metadata.path": "file:///tmp"}
        )
    for path in (folder / "rows" / "a.parquet", folder / "other" / "a.parquet"):
        path.parent.mkdir()
        path.write_text("x")
    assert planned(plan_cleanup(table, now=later())) == {str(folder / "rows" / "a.parquet")}


def test_statistics_and_delete_files_that_a_snapshot_names_stay(lake: Lake) -> None:
    table = events_table(lake)
    done = add(table, [1])
    folder = folder_of(table)
    named, unnamed = folder / "metadata" / "named.puffin", folder / "metadata" / "stray.puffin"
    for path in (named, unnamed):
        path.write_bytes(b"PFA1")
    statistics = StatisticsFile.model_validate(
        {
            "snapshot-id": done.snapshot_id,
            "statistics-path": f"file://{named}",
            "file-size-in-bytes": 4,
            "file-footer-size-in-bytes": 4,
            "blob-metadata": [],
        }
    )
    with table.iceberg().update_statistics() as update:
        update.set_statistics(statistics)
    plan = plan_cleanup(table, now=later())
    assert planned(plan) == {str(unnamed)}
    assert list(plan.by_kind) == ["statistics"]


@pytest.mark.parametrize("pattern", ["snap-*.avro", "*-m0.*avro"])
@pytest.mark.parametrize("share", [None, 0.0, 0.3, 0.7, 0.99])
def test_a_missing_or_cut_manifest_stops_the_clean_up(
    lake: Lake, pattern: str, share: float | None
) -> None:
    table = events_table(lake)
    add(table, range(50))
    abandon(table)
    (path,) = folder_of(table).rglob(pattern)
    if share is None:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(CorruptFileError) as raised:
        plan_cleanup(table, now=later())
    named = raised.value.detail if share is None else raised.value.path  # of a file that is gone
    assert ".avro" in named


def test_a_manifest_cut_after_its_header_is_not_taken_for_an_empty_one(lake: Lake) -> None:
    table = events_table(lake)
    add(table, range(50))
    for pattern in ("*-m0.*avro", "snap-*.avro"):
        (path,) = folder_of(table).rglob(pattern)
        content = path.read_bytes()
        mark = content[-16:]
        path.write_bytes(content[: content.index(mark) + 16])
        with pytest.raises(CorruptFileError) as raised:
            plan_cleanup(table, now=later())
        assert Path(local_path(raised.value.path)) == path
        path.write_bytes(content)
    assert not plan_cleanup(table, now=later())


def test_a_path_that_leads_nowhere_stops_the_clean_up(lake: Lake) -> None:
    table = events_table(lake)
    add(table, [1])
    (file,) = table.head().files()
    Path(file.path).rename(f"{file.path}.parquet")  # as if the manifest had a flipped bit
    with refused(CleanupRefusedError, reason=CleanupReason.FILE_LOST, path=f"file://{file.path}"):
        plan_cleanup(table, now=later())


def test_a_table_whose_store_cannot_be_reached_is_named(lake: Lake) -> None:
    table = events_table(lake)
    with table.iceberg().transaction() as transaction:
        transaction.set_properties({"write.metadata.path": f"file://{folder_of(table)}/metadata"})
    lake.catalog.commit_table(
        table.iceberg(), (), (SetLocationUpdate(location="s3://bucket/events"),)
    )
    with refused(CleanupRefusedError, table="raw.events", reason=CleanupReason.FOLDER_UNREADABLE):
        plan_cleanup(table, now=later())


def test_partition_values_with_special_characters_stay_readable(lake: Lake) -> None:
    schema = pa.schema([pa.field("id", pa.int64()), pa.field("name", pa.string())])
    table = lake.create(TableName("raw", "named"), schema, partition_by=["name"])
    names = ["a b", "a/b", "50%", "50%25", "#1?", "ä", "..", "=", "x:y", "'\""]
    rows = pa.record_batch({"id": list(range(len(names))), "name": names})
    operations.append(table, write_batches(table, [rows]), provenance=Provenance())
    assert not plan_cleanup(table, now=later())
    clean(table)
    assert table.head().to_arrow().sort_by("id").column("name").to_pylist() == names


def test_an_empty_table_and_one_without_a_data_folder_plan_nothing(lake: Lake) -> None:
    table = lake.create(TableName("raw", "empty"), EVENTS)
    assert not plan_cleanup(table, now=later())
    assert clean(table).run_id is None


def test_overwritten_partitions_leave_nothing_behind_for_good(settings: Settings) -> None:
    with Lake.open(keeping(settings, 2)) as lake:
        table = events_table(lake)
        for i in range(30):
            files = write_batches(table, [events([i], day=i % 2)])
            operations.overwrite_partitions(
                table, files, partitions=[day_key(i % 2)], provenance=Provenance()
            )
        clean(table)
        assert files_below(folder_of(table)) == needed_by(table.iceberg())
        assert ids_of(table) == [28, 29]
