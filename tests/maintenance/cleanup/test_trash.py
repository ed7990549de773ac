"""The trash: every clean-up can be undone for a while, and a kill at any point leaves it whole."""

import datetime as dt
import json
import os
from pathlib import Path

import pytest

from headrace.api import Lake
from headrace.config import Settings
from headrace.errors import CleanupTooYoungError, CorruptFileError, StorageError, TrashNotFoundError
from headrace.maintenance.cleanup import trash
from headrace.maintenance.cleanup.cleanup import apply_cleanup, plan_cleanup
from headrace.maintenance.cleanup.trash import emptiable, empty_trash, restore, trash_list
from headrace.storage.folders import Folders
from headrace.storage.locations import local_path
from headrace.tables.lake import LakeTable
from headrace.tables.writer import write_batches
from tests.maintenance.cleanup.needed import files_below, folder_of
from tests.maintenance.processes import KILLED, run_cleanup, run_empty_trash, run_restore
from tests.tables.factories import add, events, events_table, ids_of

DAY_H = 24


def later(hours: float = 100) -> dt.datetime:
    return dt.datetime.now(dt.UTC) + dt.timedelta(hours=hours)


def abandon(table: LakeTable, count: int) -> dict[str, bytes]:
    """Leave files behind, as writers that died do; return what is in them."""
    files = [f for i in range(count) for f in write_batches(table, [events([i], day=i % 2)])]
    table.lake.registry.end_writes([w.write_id for w in table.lake.registry.writes()])
    return contents(local_path(file.file_path) for file in files)


def contents(paths: object) -> dict[str, bytes]:
    return {str(path): Path(str(path)).read_bytes() for path in paths}  # pyright: ignore


def clean(table: LakeTable, *, hours: float = 100) -> str:
    done = apply_cleanup(table, plan_cleanup(table, now=later(hours)), now=later(hours))
    assert done.run_id is not None
    return done.run_id


def trash_files(table: LakeTable) -> set[str]:
    return {p.name for p in (folder_of(table) / ".trash").rglob("*") if p.is_file()}


def test_restore_brings_back_the_exact_bytes_to_the_same_places(lake: Lake) -> None:
    table = events_table(lake)
    add(table, [1])
    left = abandon(table, 4)
    before = contents(files_below(folder_of(table)))
    run_id = clean(table)
    assert not any(Path(path).exists() for path in left)
    (run,) = trash_list(table)
    assert (run.run_id, run.table, len(run.files)) == (run_id, "raw.events", 4)
    assert run.bytes == sum(len(content) for content in left.values())
    assert {f"{folder_of(table)}/{file.path}" for file in run.files} == set(left)
    done = restore(table, run_id)
    assert (done.files, done.bytes, done.in_the_way) == (4, run.bytes, ())
    assert contents(files_below(folder_of(table))) == before
    assert trash_list(table) == ()
    assert not (folder_of(table) / ".trash").exists()


def test_what_was_restored_counts_as_new(lake: Lake) -> None:
    table = events_table(lake)
    left = abandon(table, 2)
    restore(table, clean(table), now=later())
    assert not plan_cleanup(table, now=later(100 + 71))
    assert len(plan_cleanup(table, now=later(100 + 73)).files) == len(left)


def test_a_file_whose_place_is_taken_stays_in_the_trash(lake: Lake) -> None:
    table = events_table(lake)
    (first, second), run_id = abandon(table, 2), clean(table)
    Path(first).write_text("somebody else's")
    done = restore(table, run_id)
    assert [f"{folder_of(table)}/{path}" for path in done.in_the_way] == [first]
    assert Path(first).read_text() == "somebody else's"
    assert Path(second).exists()
    (run,) = trash_list(table)
    assert len(run.files) == 1
    Path(first).unlink()
    assert restore(table, run_id).files == 1


def test_an_unknown_run_is_named_with_those_there_are(lake: Lake) -> None:
    table = events_table(lake)
    with pytest.raises(TrashNotFoundError) as raised:
        restore(table, "20240501T000000Z-00000000")
    assert raised.value.known == ()
    abandon(table, 1)
    run_id = clean(table)
    with pytest.raises(TrashNotFoundError) as raised:
        restore(table, "../../../etc")
    assert raised.value.known == (run_id,)


def test_the_trash_is_emptied_only_beyond_the_restore_window(lake: Lake) -> None:
    table = events_table(lake)
    add(table, [1])
    abandon(table, 2)
    run_id = clean(table)
    within = later(100 + 7 * DAY_H - 1)
    assert empty_trash(table, now=within) == ()
    assert [run.run_id for run in trash_list(table)] == [run_id]
    with pytest.raises(CleanupTooYoungError) as raised:
        empty_trash(table, older_than_s=6 * DAY_H * 3600, now=later(10_000))
    assert raised.value.setting.endswith("trash_days")
    beyond = later(100 + 7 * DAY_H + 1)
    assert [run.run_id for run in emptiable(table, now=beyond)] == [run_id]
    assert empty_trash(table, older_than_s=8 * DAY_H * 3600, now=beyond) == ()
    (emptied,) = empty_trash(table, now=beyond)
    assert (emptied.run_id, len(emptied.files)) == (run_id, 2)
    assert trash_list(table) == ()
    assert not (folder_of(table) / ".trash").exists()
    assert ids_of(table) == [1]


def test_emptying_leaves_what_somebody_else_put_there(lake: Lake) -> None:
    table = events_table(lake)
    abandon(table, 1)
    folder = folder_of(table) / ".trash" / clean(table)
    (folder / "notes.txt").write_text("mine")
    (folder_of(table) / ".trash" / "keep").mkdir()
    empty_trash(table, now=later(10_000))
    assert (folder / "notes.txt").read_text() == "mine"


def test_the_trash_is_no_part_of_the_table(lake: Lake) -> None:
    table = events_table(lake)
    add(table, [1])
    abandon(table, 3)
    clean(table)
    assert not plan_cleanup(table, now=later(10_000))


@pytest.mark.parametrize("path", ["../../x.parquet", "/tmp/x.parquet", "data/../../x.parquet"])
def test_a_manifest_that_leads_out_of_the_table_is_refused(lake: Lake, path: str) -> None:
    table = events_table(lake)
    abandon(table, 1)
    manifest = folder_of(table) / ".trash" / clean(table) / "manifest.json"
    content = json.loads(manifest.read_text())
    content["files"][0]["path"] = path
    manifest.write_text(json.dumps(content))
    for act in (trash_list, lambda t: empty_trash(t, now=later(10_000))):
        with pytest.raises(CorruptFileError) as raised:
            act(table)
        assert raised.value.path == str(manifest)


@pytest.mark.parametrize("damage", ["", "{", "{}", '{"table": "t", "moved_at": 1, "files": []}'])
def test_a_damaged_manifest_is_named(lake: Lake, damage: str) -> None:
    table = events_table(lake)
    abandon(table, 1)
    manifest = folder_of(table) / ".trash" / clean(table) / "manifest.json"
    manifest.write_text(damage)
    with pytest.raises(CorruptFileError) as raised:
        trash_list(table)
    assert raised.value.path == str(manifest)


def test_a_kill_while_files_move_leaves_each_at_one_place_and_all_restorable(
    settings: Settings,
) -> None:
    with Lake.open(settings) as lake:
        table = events_table(lake)
        add(table, [1])
        left = abandon(table, 3)
        before = contents(files_below(folder_of(table)))
        for crash_at, moved in (("manifest", 0), ("move", 1), ("move:2", 2), ("move:3", 3)):
            now = later()
            code = run_cleanup(settings, now=now, crash_at=f"cleanup.after_{crash_at}")
            assert code == KILLED
            assert sum(not Path(path).exists() for path in left) == moved
            (run,) = trash_list(table)
            assert len(run.files) == moved
            if moved == 1:  # the next clean-up takes the rest, and both runs come back
                second = clean(table)
                assert not any(Path(path).exists() for path in left)
                restore(table, second)
            restore(table, run.run_id)
            assert contents(files_below(folder_of(table))) == before
            assert trash_list(table) == ()
            for path in left:
                os.utime(path)
        assert ids_of(table) == [1]


def test_a_kill_while_files_come_back_leaves_the_rest_restorable(settings: Settings) -> None:
    with Lake.open(settings) as lake:
        table = events_table(lake)
        left = abandon(table, 3)
        before = contents(files_below(folder_of(table)))
        run_id = clean(table)
        code = run_restore(settings, run_id, now=later(), crash_at="cleanup.after_restore:2")
        assert code == KILLED
        assert sum(Path(path).exists() for path in left) == 2
        (run,) = trash_list(table)
        assert len(run.files) == 1
        assert restore(table, run_id).files == 1
        assert contents(files_below(folder_of(table))) == before
        assert trash_list(table) == ()


def test_a_kill_while_the_trash_is_emptied_is_finished_by_the_next_run(settings: Settings) -> None:
    with Lake.open(settings) as lake:
        table = events_table(lake)
        abandon(table, 3)
        clean(table)
        now = later(10_000)
        assert run_empty_trash(settings, now=now, crash_at="cleanup.after_delete:2") == KILLED
        (run,) = trash_list(table)
        assert len(run.files) == 1
        (emptied,) = empty_trash(table, now=now)
        assert len(emptied.files) == 1
        assert not (folder_of(table) / ".trash").exists()


def test_a_run_that_is_emptied_while_runs_are_listed_is_left_out(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = events_table(lake)
    abandon(table, 2)
    clean(table)
    read = trash._read  # pyright: ignore[reportPrivateUsage]  (a process cannot be timed to come just there)

    def emptied_meanwhile(store: Folders, folder: str) -> trash.TrashRun:
        for path in sorted((folder_of(table) / ".trash").rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        return read(store, folder)

    monkeypatch.setattr(trash, "_read", emptied_meanwhile)
    assert trash_list(table) == ()


def test_what_a_kill_before_the_manifest_leaves_is_swept_with_the_trash(lake: Lake) -> None:
    table = events_table(lake)
    started = folder_of(table) / ".trash" / "20240501T000000Z-0123abcd"
    started.mkdir(parents=True)
    (started / ".manifest.json").write_text('{"run')
    assert trash_list(table) == ()
    empty_trash(table)
    assert not started.exists()


def test_a_trash_that_cannot_be_made_is_named_and_nothing_moves(lake: Lake) -> None:
    table = events_table(lake)
    left = abandon(table, 4)
    before = contents(files_below(folder_of(table)))
    plan = plan_cleanup(table, now=later())
    (folder_of(table) / ".trash").write_text("in the way")
    with pytest.raises(StorageError) as raised:
        apply_cleanup(table, plan, now=later())
    assert raised.value.path.startswith(f"{folder_of(table)}/.trash")
    assert contents(files_below(folder_of(table)) - {str(folder_of(table) / ".trash")}) == before
    (folder_of(table) / ".trash").unlink()
    assert apply_cleanup(table, plan, now=later()).files == len(left)
