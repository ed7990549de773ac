"""What folders on S3 do beyond the suite of all forms: pages, faults, large copies, unusual objects."""

import datetime as dt
import os
from collections.abc import Iterator
from dataclasses import replace

import pytest
from botocore.retries.standard import ExponentialBackoff

from headrace.errors import StorageError
from headrace.storage import s3_client
from headrace.storage.folders import Folders, Kind
from headrace.storage.s3_client import Key, S3Client
from headrace.storage.s3_connection import ATTEMPTS_MAX_KEY, S3Options
from headrace.storage.s3_folders import S3Folders
from tests.s3 import S3Place
from tests.s3_proxy import Fault, FaultProxy, Request, fault_proxy

pytestmark = pytest.mark.slow

MIB = 1024**2
TRIES = {ATTEMPTS_MAX_KEY: "3"}


@pytest.fixture
def store(s3: S3Place) -> S3Folders:
    return S3Folders(s3.properties)


@pytest.fixture
def proxy(s3: S3Place) -> Iterator[FaultProxy]:
    with fault_proxy(s3.endpoint) as running:
        yield running


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ExponentialBackoff, "delay_amount", lambda *_: 0.0)


@pytest.fixture
def behind(s3: S3Place, proxy: FaultProxy) -> S3Folders:
    return S3Folders({**s3.at(proxy.address).properties, **TRIES})


def test_many_keys_whose_folders_sort_oddly_are_all_listed_once(
    s3: S3Place, proxy: FaultProxy, behind: S3Folders
) -> None:
    s3.folder.mkdir(parents=True)
    expected: set[tuple[str, Kind]] = set()
    for n in range(1000):
        name = f"k{n:03d}"
        (s3.folder / name).mkdir()
        (s3.folder / f"{name}.b").mkdir()
        for file in (f"{name}/f", f"{name}.b/f", f"{name}-c"):
            (s3.folder / file).write_bytes(b"")
        expected |= {(name, Kind.FOLDER), (f"{name}.b", Kind.FOLDER), (f"{name}-c", Kind.FILE)}
    found = [(each.name, each.kind) for each in behind.list(s3.uri)]
    assert len(found) == len(set(found))
    assert set(found) == expected
    assert proxy.count("GET") <= 4


def test_a_look_at_many_objects_takes_few_requests_whatever_lies_beside_them(
    s3: S3Place, proxy: FaultProxy, behind: S3Folders
) -> None:
    for n in range(200):
        folder = s3.folder / f"day={n % 20:02d}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"f{n}").write_bytes(b"x" * n)
    wanted = [f"{s3.uri}/day={n % 20:02d}/f{n}" for n in range(200)]
    found = behind.stats(wanted)
    assert [facts and facts.bytes for facts in found.values()] == list(range(200))
    assert len(proxy.requests) == 1
    proxy.requests.clear()
    for n in range(3_000):
        (s3.folder / f"beside-{n:04d}").write_bytes(b"")
    few = behind.stats(wanted[:20])
    assert {at: facts for at, facts in found.items() if at in few} == few
    # it gave up a listing that told of others, and looked at each
    assert (proxy.count("GET"), proxy.count("HEAD")) == (1, 20)


def test_a_listing_that_does_not_advance_is_an_error(
    store: S3Folders, s3: S3Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = {"IsTruncated": True, "NextContinuationToken": "same"}
    monkeypatch.setattr(S3Client, "_call", lambda *_, **__: page)
    with pytest.raises(OSError, match="does not advance"):
        store.list(s3.uri)


def test_objects_that_mark_folders_are_neither_listed_nor_made(
    store: S3Folders, s3: S3Place
) -> None:
    client, root = S3Client.of(s3.properties), Key.of(s3.uri)
    assert root is not None
    client.put(Key(root.bucket, f"{root.name}/data/"), b"")
    store.write(f"{s3.uri}/data/f", b"x")
    assert [each.name for each in store.list(f"{s3.uri}/data")] == ["f"]
    store.delete(f"{s3.uri}/data/f")
    assert list(store.list(f"{s3.uri}/data")) == []


@pytest.mark.parametrize("said", [None, dt.datetime(1970, 1, 1, tzinfo=dt.UTC)])
def test_an_object_without_a_time_is_young(said: dt.datetime | None) -> None:
    now_ns = s3_client.time.time_ns()
    facts = s3_client._facts(3, '"e"', said)
    assert facts.modified_ns >= now_ns
    assert facts.token == s3_client._facts(3, '"e"', said).token


def test_a_large_object_is_moved_in_parts(s3: S3Place) -> None:
    store = S3Folders(s3.properties, copy_bytes_max=5 * MIB)
    content = os.urandom(12 * MIB)
    store.write(f"{s3.uri}/a", content)
    store.move(f"{s3.uri}/a", f"{s3.uri}/b")
    assert store.read(f"{s3.uri}/b") == content
    assert not store.exists(f"{s3.uri}/a")
    assert list(store.uploads(s3.uri)) == []


def test_an_upload_that_a_kill_left_is_found_and_freed(store: S3Folders, s3: S3Place) -> None:
    key = Key.of(f"{s3.uri}/data/f.parquet")
    assert key is not None
    S3Client.of(s3.properties)._call("create_multipart_upload", key)
    store.write(f"{s3.uri}/data/g.parquet", b"x")
    (upload,) = store.uploads(s3.uri)
    assert upload.location == f"{s3.uri}/data/f.parquet"
    assert abs(upload.begun_ns - s3_client.time.time_ns()) < 60 * 10**9
    store.abort(upload)
    store.abort(upload)
    assert list(store.uploads(s3.uri)) == []
    assert [each.name for each in store.list(f"{s3.uri}/data")] == ["g.parquet"]


def is_any(request: Request) -> bool:
    return True


@pytest.mark.parametrize("fault", [Fault.SLOW_DOWN, Fault.RESET, Fault.LOST_ANSWER])
def test_every_call_outlives_single_faults(
    fault: Fault, s3: S3Place, proxy: FaultProxy, behind: S3Folders
) -> None:
    def act(name: str) -> None:
        proxy.fail(fault, times=1, of=is_any)
        match name:
            case "write":
                behind.write(f"{s3.uri}/a", b"content")
            case "create":
                behind.create(f"{s3.uri}/only", b"mine")
            case "stat":
                assert behind.stat(f"{s3.uri}/a") is not None
            case "read":
                assert behind.read(f"{s3.uri}/a") == b"content"
            case "list":
                assert {each.name for each in behind.list(s3.uri)} == {"a", "only"}
            case _:
                behind.delete(f"{s3.uri}/only")

    for name in ("write", "create", "stat", "read", "list", "delete"):
        act(name)
        assert proxy.rule(Request("GET", "", {})) is None, f"{name} was not disturbed"


def test_a_move_outlives_a_fault_at_each_of_its_steps(
    s3: S3Place, proxy: FaultProxy, behind: S3Folders
) -> None:
    for step, fault in ((n, fault) for n in range(5) for fault in (Fault.RESET, Fault.LOST_ANSWER)):
        behind.write(f"{s3.uri}/from", b"content")
        proxy.requests.clear()
        proxy.fail(fault, times=1, of=lambda _, at=step: len(proxy.requests) == at + 1)
        behind.move(f"{s3.uri}/from", f"{s3.uri}/to")
        proxy.rule = lambda _: None
        assert behind.read(f"{s3.uri}/to") == b"content"
        assert not behind.exists(f"{s3.uri}/from")
        behind.delete(f"{s3.uri}/to")


def test_an_answer_that_breaks_off_is_read_again(
    s3: S3Place, proxy: FaultProxy, behind: S3Folders
) -> None:
    behind.write(f"{s3.uri}/a", b"content" * 1000)
    proxy.fail(Fault.CUT_ANSWER, times=1, of=is_any)
    assert behind.read(f"{s3.uri}/a") == b"content" * 1000


def test_an_error_in_an_answer_of_200_is_an_error(
    s3: S3Place, proxy: FaultProxy, behind: S3Folders
) -> None:
    behind.write(f"{s3.uri}/a", b"content")
    proxy.rule = lambda request: Fault.ERROR_IN_200 if request.method == "PUT" else None
    with pytest.raises(StorageError):
        behind.move(f"{s3.uri}/a", f"{s3.uri}/b")
    proxy.rule = lambda _: None
    assert behind.read(f"{s3.uri}/a") == b"content"
    assert not behind.exists(f"{s3.uri}/b")


def test_a_large_copy_whose_completion_fails_leaves_no_upload(
    s3: S3Place, proxy: FaultProxy
) -> None:
    store = S3Folders({**s3.at(proxy.address).properties, **TRIES}, copy_bytes_max=5 * MIB)
    store.write(f"{s3.uri}/a", bytes(6 * MIB))
    proxy.rule = lambda request: Fault.ERROR_IN_200 if request.is_complete else None
    with pytest.raises(StorageError):
        store.move(f"{s3.uri}/a", f"{s3.uri}/b")
    assert list(store.uploads(s3.uri)) == []
    assert store.exists(f"{s3.uri}/a")
    proxy.fail(Fault.LOST_ANSWER, times=1, of=lambda request: request.is_complete)
    store.move(f"{s3.uri}/a", f"{s3.uri}/b")
    assert store.read(f"{s3.uri}/b") == bytes(6 * MIB)


def test_a_store_that_stays_silent_is_an_error_after_a_bounded_number_of_tries(
    s3: S3Place, proxy: FaultProxy, behind: S3Folders
) -> None:
    proxy.rule = lambda _: Fault.SLOW_DOWN
    with pytest.raises(OSError, match="503"):
        behind.stat(f"{s3.uri}/a")
    assert len(proxy.requests) == 3
    with pytest.raises(StorageError):
        behind.write(f"{s3.uri}/a", b"content")


def test_a_wrong_secret_is_refused_by_name_and_never_shown(s3: S3Place) -> None:
    secret = "not-the-secret-of-anyone"
    store: Folders = S3Folders(replace(s3, secret_key=secret).properties)
    with pytest.raises(PermissionError) as raised:
        store.stat(f"{s3.uri}/a")
    with pytest.raises(StorageError) as refused:
        store.write(f"{s3.uri}/a", b"")
    shown = f"{raised.value} {refused.value} {S3Options.of({'s3.secret-access-key': secret})}"
    assert secret not in shown


def test_a_forked_process_uses_connections_of_its_own(s3: S3Place, store: S3Folders) -> None:
    store.write(f"{s3.uri}/a", b"content")
    child = os.fork()
    if not child:
        try:
            os._exit(0 if store.read(f"{s3.uri}/a") == b"content" else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
