"""What a commit asks of the store: it reads back nothing that its process wrote, and puts files at once."""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from headrace.api import Lake
from headrace.errors import CorruptFileError, StoreUnavailableError
from headrace.iceberg.manifest_writer import MANIFESTS_PER_TIER
from headrace.iceberg.recent_writes import BYTES_MAX, RecentWrites
from headrace.storage.locations import local_path
from headrace.storage.open import folders_of
from headrace.tables.commits.operations import Provenance, append
from headrace.tables.lake import LakeTable
from headrace.tables.writer import write_batches
from tests.s3 import S3Place
from tests.s3_proxy import Fault, FaultProxy, Request, fault_proxy
from tests.tables.factories import add, events, events_table, ids_of

pytestmark = pytest.mark.slow
WAIT_S, LATE_S = 20.0, 0.5


@pytest.fixture
def proxy(s3: S3Place) -> Iterator[FaultProxy]:
    with fault_proxy(s3.endpoint) as running:
        yield running


@pytest.fixture
def table(s3: S3Place, proxy: FaultProxy, tmp_path: Path) -> Iterator[LakeTable]:
    """A table whose every request the proxy counts."""
    settings = s3.at(proxy.address).settings(tmp_path / "state")
    assert settings.s3 is not None
    impatient = replace(settings, s3=replace(settings.s3, attempts_max=1))
    with Lake.open(impatient) as lake:
        yield events_table(lake)


def is_manifest(request: Request) -> bool:
    return request.method == "PUT" and request.path.endswith(".avro")


def test_a_commit_reads_no_manifest_that_its_process_wrote(
    table: LakeTable, proxy: FaultProxy
) -> None:
    merged = 0
    for number in range(2 * MANIFESTS_PER_TIER):
        files = write_batches(table, [events([number])])
        proxy.requests.clear()
        append(table, files, provenance=Provenance())
        assert proxy.count("GET") == 0
        assert proxy.count("HEAD") == 1  # of its data file
        manifests = sum(is_manifest(each) for each in proxy.requests)
        assert proxy.count("PUT") == manifests + 1
        merged += manifests == 3
    assert merged
    assert ids_of(table) == list(range(2 * MANIFESTS_PER_TIER))


def test_what_another_host_wrote_is_read_from_the_store(
    table: LakeTable, proxy: FaultProxy
) -> None:
    add(table, [0])
    with Lake.open(table.lake.settings) as other:
        for number in range(1, 6):
            proxy.requests.clear()
            add((table if number % 2 else other.table(table.name)), [number])
            assert proxy.count("GET") == (2 if number > 1 else 0)  # metadata and manifest list
    assert ids_of(table) == list(range(6))


def test_the_manifest_and_the_list_of_a_commit_are_put_at_once(
    table: LakeTable, proxy: FaultProxy
) -> None:
    both = threading.Barrier(2)

    def until_both(request: Request) -> float:
        if is_manifest(request):
            both.wait(WAIT_S)  # the one that came alone breaks it
        return 0.0

    proxy.delay_s = until_both
    add(table, [1])
    assert not both.broken
    assert ids_of(table) == [1]


def test_a_refused_put_leaves_nothing_that_was_put_beside_it(
    table: LakeTable, proxy: FaultProxy
) -> None:
    files = write_batches(table, [events([1])])
    store = folders_of(table.iceberg().location(), table.iceberg().io, table=str(table.name))
    folder = f"{table.iceberg().location()}/metadata"
    before = {each.location for each in store.list(folder)}

    def is_list(request: Request) -> bool:
        return is_manifest(request) and "snap-" in request.path

    # the store does the other put after it refused this one
    proxy.rule = lambda request: Fault.SLOW_DOWN if is_list(request) else None
    proxy.delay_s = lambda request: LATE_S * (is_manifest(request) and not is_list(request))
    with pytest.raises(StoreUnavailableError):
        append(table, files, provenance=Provenance())
    proxy.rule, proxy.delay_s = lambda _: None, lambda _: 0.0
    time.sleep(2 * LATE_S)
    assert {each.location for each in store.list(folder)} == before
    append(table, files, provenance=Provenance())
    assert ids_of(table) == [1]


def test_an_object_is_deleted_by_one_request_and_leaves_no_mark(
    table: LakeTable, proxy: FaultProxy
) -> None:
    io, place = table.iceberg().io, f"{table.iceberg().location()}/alone/one"
    with io.new_output(place).create() as stream:
        stream.write(b"one")
    proxy.requests.clear()
    io.delete(place)
    assert [each.method for each in proxy.requests] == ["DELETE"]
    io.delete(place)  # it is gone, which is all that was asked for
    store = folders_of(place, io, table=str(table.name))
    assert not store.list(place.rpartition("/")[0])


def test_readers_see_damage_of_a_file_that_their_process_wrote(lake: Lake) -> None:
    table = events_table(lake)
    add(table, [1])
    snapshot = table.head().snapshot
    assert snapshot is not None
    path = Path(local_path(snapshot.manifest_list))
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(CorruptFileError):
        table.head().files()
    # the next commit lists what is known to be there, and does not need the damaged file
    add(table, [2])
    assert ids_of(table) == [1, 2]


def test_some_megabytes_are_kept_and_the_longest_unused_go_first() -> None:
    recent, part = RecentWrites(), BYTES_MAX // 4
    for name in "abcd":
        recent.keep(name, name.encode() * part)
    assert recent.find("a") == b"a" * part
    recent.keep("e", b"e")
    assert recent.find("b") is None
    assert {name for name in "acde" if recent.find(name)} == set("acde")
    recent.keep("large", b"l" * (part + 1))
    assert recent.find("large") is None
    recent.keep("a", b"other")  # of which the first content counts no more
    recent.keep("f", b"f" * part)
    recent.keep("g", b"g" * (part - 6))
    assert {name for name in "acdefg" if recent.find(name)} == set("acdefg")
