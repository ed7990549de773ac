"""Tables whose files are on S3: written, committed, read and maintained like those on a disk."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn, cast

import pyarrow as pa
import pytest

from headrace.api import Lake
from headrace.engines.open import open_engine
from headrace.errors import (
    CommitConflictError,
    CommitOutcomeUnknownError,
    CorruptFileError,
    StoreUnavailableError,
)
from headrace.iceberg import manifests
from headrace.iceberg.memo_catalog import MemoCatalog
from headrace.maintenance.compaction.compact import compact
from headrace.storage.folders import Folders
from headrace.storage.open import folders_of
from headrace.storage.s3_io import S3FileIO
from headrace.tables.commits import attempt
from headrace.tables.commits.adopt import fresh
from headrace.tables.commits.operations import Provenance, append
from headrace.tables.lake import LakeTable
from headrace.tables.writer import TableWriter, write_batches
from tests.s3 import S3Place
from tests.s3_proxy import Fault, FaultProxy, fault_proxy
from tests.tables.factories import events, events_table

pytestmark = pytest.mark.slow
BY_TEST = Provenance(run_id="test")
MIB = 1024**2


@pytest.fixture
def table(s3_lake: Lake) -> LakeTable:
    return events_table(s3_lake)


@pytest.fixture
def store(s3_lake: Lake, table: LakeTable) -> Folders:
    return store_of(table)


def store_of(table: LakeTable) -> Folders:
    return folders_of(table.iceberg().location(), table.iceberg().io, table=str(table.name))


@pytest.fixture
def proxy(s3: S3Place) -> Iterator[FaultProxy]:
    with fault_proxy(s3.endpoint) as running:
        yield running


def add(table: LakeTable, *ids: int, day: int = 0) -> None:
    append(table, write_batches(table, [events(ids, day=day)]), provenance=BY_TEST)


def ids_of(table: LakeTable) -> list[int]:
    return sorted(table.head().to_arrow(columns=["id"])["id"].to_pylist())


def everything_below(store: Folders, folder: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for each in store.list(folder):
        if each.facts is None:
            found |= everything_below(store, each.location)
        else:
            found[each.location] = each.facts.bytes
    return found


def test_what_was_committed_is_read_by_headrace_and_by_its_engine(
    s3_lake: Lake, table: LakeTable
) -> None:
    add(table, 1, 2)
    add(table, 3, day=1)
    assert ids_of(table) == [1, 2, 3]
    with open_engine(s3_lake.settings) as engine:
        engine.bind("events", table.head())
        found = engine.query("select id from events where event_time >= '2024-05-02'").read_all()
    assert found["id"].to_pylist() == [3]


def test_every_length_that_metadata_tells_is_that_of_the_object(
    table: LakeTable, store: Folders
) -> None:
    add(table, *range(100))
    add(table, *range(100, 150))
    version = table.head()
    told = {file.path: file.bytes for file in version.files()}
    told |= {
        each.manifest_path: each.manifest_length
        for each in manifests.manifests_of(version.snapshot, version.io)
    }
    assert len(told) >= 3
    for location, size in told.items():
        facts = store.stat(location)
        assert facts is not None
        assert facts.bytes == size


def test_a_file_that_is_gone_or_of_another_length_is_not_committed(
    table: LakeTable, store: Folders
) -> None:
    (file,) = write_batches(table, [events([1])])
    content = store.read(file.file_path)
    store.write(file.file_path, content[:-1])
    with pytest.raises(CorruptFileError):
        append(table, [file], provenance=BY_TEST)
    store.delete(file.file_path)
    with pytest.raises(CommitConflictError):
        append(table, [file], provenance=BY_TEST)
    assert ids_of(table) == []
    store.write(file.file_path, content)
    append(table, [file], provenance=BY_TEST)
    assert ids_of(table) == [1]


def test_a_writer_that_fails_in_the_middle_leaves_no_object_and_no_upload(
    table: LakeTable, store: Folders
) -> None:
    names = [os.urandom(8_000).hex() for _ in range(1_000)]

    def rows() -> Iterator[pa.RecordBatch]:
        for _ in range(3):
            batch = events(range(1_000))
            yield batch.set_column(1, "name", pa.array(names))
        msg = "the source broke off"
        raise ValueError(msg)

    with pytest.raises(ValueError, match="broke off"), TableWriter(table) as writer:
        for batch in rows():
            writer.write(batch)
            writer._bound_memory()
            for file in writer._open.values():
                file.flush()
    location = table.iceberg().location()
    assert not [path for path in everything_below(store, location) if path.endswith(".parquet")]
    assert list(store.uploads(location)) == []


def test_compaction_rewrites_small_files_of_a_store(table: LakeTable) -> None:
    for n in range(6):
        add(table, n)
    done = compact(table)
    assert (done.files_before, done.files_after) == (6, 1)
    assert ids_of(table) == list(range(6))
    assert not compact(table).commits


def test_a_commit_whose_puts_are_refused_is_an_error_and_changes_nothing(
    s3: S3Place, tmp_path: Path, table: LakeTable, proxy: FaultProxy
) -> None:
    add(table, 1)
    settings = s3.at(proxy.address).settings(tmp_path / "state-of-s3")
    assert settings.s3 is not None
    impatient = replace(settings, s3=replace(settings.s3, attempts_max=2, request_timeout_s=2))
    with Lake.open(impatient) as lake:
        behind = lake.table("raw.events")
        files = write_batches(behind, [events([2])])
        for fault in (Fault.SLOW_DOWN, Fault.RESET, Fault.ERROR_IN_200):
            proxy.rule = lambda request, it=fault: it if request.method == "PUT" else None
            if fault is not Fault.ERROR_IN_200:
                with pytest.raises(StoreUnavailableError):
                    append(behind, files, provenance=BY_TEST)
            else:
                with pytest.raises(StoreUnavailableError):
                    write_batches(behind, [events([3])])
            proxy.rule = lambda _: None
            assert ids_of(table) == [1]
            files = write_batches(behind, [events([2])])
        append(behind, files, provenance=BY_TEST)
    assert ids_of(table) == [1, 2]


def test_a_commit_that_may_have_landed_before_its_store_fell_silent_keeps_its_files(
    s3: S3Place,
    tmp_path: Path,
    table: LakeTable,
    proxy: FaultProxy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = s3.at(proxy.address).settings(tmp_path / "state-of-s3")
    assert settings.s3 is not None
    impatient = replace(settings, s3=replace(settings.s3, attempts_max=1))
    monkeypatch.setattr(attempt, "_BACKOFF_S", 0.0)
    with Lake.open(impatient) as lake:
        catalog = cast("MemoCatalog", lake.catalog)
        swap = catalog.commit_table

        def lose_the_answer(*arguments: Any) -> NoReturn:  # noqa: ANN401
            swap(*arguments)
            catalog._remembered.clear()
            proxy.rule = lambda _: Fault.SLOW_DOWN
            msg = "the answer of the catalog is lost"
            raise OSError(msg)

        behind = lake.table("raw.events")
        files = write_batches(behind, [events([2])])
        monkeypatch.setattr(catalog, "commit_table", lose_the_answer)
        # `fresh` deletes the files where it is told that nothing was committed
        with pytest.raises(CommitOutcomeUnknownError), fresh(behind, files):
            append(behind, files, provenance=BY_TEST)
        proxy.rule = lambda _: None
    assert ids_of(table) == [2]


def test_single_faults_of_any_request_of_a_commit_are_outlived(
    s3: S3Place, tmp_path: Path, proxy: FaultProxy, table: LakeTable
) -> None:
    expected: list[int] = []
    with Lake.open(s3.at(proxy.address).settings(tmp_path / "state-of-s3")) as lake:
        behind = lake.table("raw.events")
        for step in range(5):
            for fault in (Fault.SLOW_DOWN, Fault.LOST_ANSWER):
                proxy.requests.clear()
                proxy.fail(fault, times=1, of=lambda _, at=step: len(proxy.requests) == at + 1)
                expected.append(len(expected))
                add(behind, expected[-1])
                assert len(proxy.requests) > step
                proxy.rule = lambda _: None
    assert ids_of(table) == expected


def test_a_store_that_does_not_answer_is_no_damaged_file(
    s3: S3Place, tmp_path: Path, table: LakeTable, proxy: FaultProxy
) -> None:
    add(table, 1)
    settings = s3.at(proxy.address).settings(tmp_path / "state-of-s3")
    assert settings.s3 is not None
    impatient = replace(settings, s3=replace(settings.s3, attempts_max=1))
    with Lake.open(impatient) as lake:
        version = lake.table("raw.events").head()
        proxy.rule = lambda _: Fault.SLOW_DOWN
        with pytest.raises(StoreUnavailableError):
            version.to_arrow()
        with open_engine(impatient) as engine, pytest.raises(StoreUnavailableError):
            engine.bind("events", version)


def test_wrong_keys_are_named_and_not_shown(s3: S3Place, tmp_path: Path, table: LakeTable) -> None:
    add(table, 1)
    secret = "not-the-secret-of-anyone"
    with Lake.open(replace(s3, secret_key=secret).settings(tmp_path / "state-of-s3")) as lake:
        with pytest.raises(StoreUnavailableError) as raised:
            lake.table("raw.events")
        assert secret not in f"{raised.value}{raised.value.facts}{lake.settings}"


def test_a_damaged_object_is_named_with_what_is_still_sound(
    s3_lake: Lake, table: LakeTable, store: Folders
) -> None:
    add(table, 1)
    first = table.head().snapshot_id
    add(table, 2)
    path = next(f.path for f in table.head().files() if f.sequence == 2)
    content = bytearray(store.read(path))
    content[20] ^= 1
    store.write(path, bytes(content))
    with open_engine(s3_lake.settings) as engine, pytest.raises(CorruptFileError) as raised:
        engine.bind("events", table.head())
    assert raised.value.path == path
    assert str(first) in str(raised.value)
    store.delete(path)
    with pytest.raises(CorruptFileError) as gone:
        table.head().to_arrow()
    assert "trash" in str(gone.value)


def test_a_forked_process_reads_what_its_parent_read(table: LakeTable) -> None:
    add(table, 1)
    child = os.fork()
    if not child:
        try:
            os._exit(0 if ids_of(table) == [1] else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_pyicebergs_own_access_makes_way_for_one_filesystem_of_all_tables(
    table: LakeTable,
) -> None:
    first, second = table.iceberg().io, table.iceberg().io
    assert isinstance(first, S3FileIO)
    assert isinstance(second, S3FileIO)
    assert first.fs_by_scheme("s3", "lake") is second.fs_by_scheme("s3", "other")


def test_a_store_that_thinks_for_four_seconds_is_waited_for(
    s3: S3Place, tmp_path: Path, table: LakeTable, proxy: FaultProxy
) -> None:
    waits = iter([4.0, 4.0])  # a commit's first write and its first read, in a client of 3 s
    proxy.delay_s = lambda request: next(waits, 0.0) if request.method in ("PUT", "GET") else 0.0
    with Lake.open(s3.at(proxy.address).settings(tmp_path / "state-of-s3")) as lake:
        add(lake.table("raw.events"), 1)
    assert ids_of(table) == [1]
    assert next(waits, None) is None


def test_a_small_file_is_read_in_one_request(
    s3: S3Place, tmp_path: Path, table: LakeTable, proxy: FaultProxy
) -> None:
    add(table, *range(100))
    with Lake.open(s3.at(proxy.address).settings(tmp_path / "state-of-s3")) as lake:
        version = lake.table("raw.events").head()
        version.files()
        proxy.requests.clear()
        assert version.to_arrow().num_rows == 100
    assert (proxy.count("HEAD"), proxy.count("GET")) == (1, 1)
