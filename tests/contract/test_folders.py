"""What every form of `Folders` does, whatever its store: one suite for all of them."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from headrace.storage.folders import Folders, Kind
from headrace.storage.open import folders_of, has_folders, local_folders
from headrace.storage.s3_folders import S3Folders
from tests.s3 import S3Place
from tests.storage.object_store import Bucket, MemoryFolders, MemoryIO

HOUR_S = 3_600


@pytest.fixture(params=["local", "objects", pytest.param("s3", marks=pytest.mark.slow)])
def store_and_root(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Folders, str]:
    if request.param == "local":
        return local_folders(), str(tmp_path.resolve() / "t")
    if request.param == "s3":
        place: S3Place = request.getfixturevalue("s3")
        return S3Folders(place.properties), place.uri
    return MemoryFolders(Bucket()), "mem://bucket/t"


@pytest.fixture
def store(store_and_root: tuple[Folders, str]) -> Folders:
    return store_and_root[0]


@pytest.fixture
def root(store_and_root: tuple[Folders, str]) -> str:
    return store_and_root[1]


def names_in(store: Folders, folder: str) -> dict[str, Kind]:
    return {each.name: each.kind for each in store.list(folder)}


def test_one_level_is_listed_with_what_each_entry_is(store: Folders, root: str) -> None:
    for name in ("a.avro", "data/b.parquet", "data/day=1/c.parquet", "database/d"):
        store.write(f"{root}/{name}", name.encode())
    assert names_in(store, root) == {
        "a.avro": Kind.FILE,
        "data": Kind.FOLDER,
        "database": Kind.FOLDER,
    }
    assert names_in(store, f"{root}/data") == {"b.parquet": Kind.FILE, "day=1": Kind.FOLDER}
    for each in store.list(f"{root}/data"):
        assert each.location == f"{root}/data/{each.name}"
        if each.facts is not None:
            assert each.facts == store.stat(each.location)


def test_a_folder_that_is_not_there_has_no_entries(store: Folders, root: str) -> None:
    store.write(f"{root}/file", b"")
    assert list(store.list(f"{root}/missing")) == []
    assert list(store.list(f"{root}/file")) == []


def test_a_file_is_read_whole_or_from_its_beginning(store: Folders, root: str) -> None:
    store.write(f"{root}/f", b"content")
    assert store.read(f"{root}/f") == b"content"
    assert store.read(f"{root}/f", bytes_max=3) == b"con"
    assert store.read(f"{root}/f", bytes_max=100) == b"content"


def test_what_is_not_there_is_said_so(store: Folders, root: str) -> None:
    store.write(f"{root}/folder/f", b"")
    for missing in (f"{root}/gone", f"{root}/folder", f"{root}/folder/f/below"):
        assert store.stat(missing) is None
        assert not store.exists(missing)
    with pytest.raises(FileNotFoundError):
        store.read(f"{root}/gone")
    with pytest.raises(FileNotFoundError):
        store.move(f"{root}/gone", f"{root}/new")
    store.delete(f"{root}/gone")


def test_many_looks_at_once_say_what_each_says(store: Folders, root: str) -> None:
    there = [f"{root}/day={n % 3}/f{n}" for n in range(20)]
    for n, location in enumerate(there):
        store.write(location, b"x" * n)
    gone = [f"{root}/day=1/gone", f"{root}/day=9/gone", f"{root}/day=1"]
    for asked in ([], gone[:1], there[:2], [*there, *gone]):
        assert store.stats(asked) == {each: store.stat(each) for each in asked}


def test_the_token_of_a_file_changes_with_its_content(store: Folders, root: str) -> None:
    store.write(f"{root}/f", b"one")
    first = store.stat(f"{root}/f")
    assert first is not None
    assert first.bytes == 3
    assert store.stat(f"{root}/f") == first
    store.write(f"{root}/f", b"two")
    second = store.stat(f"{root}/f")
    assert second is not None
    assert second.token != first.token


def test_writing_replaces_and_leaves_nothing_else(store: Folders, root: str) -> None:
    for content in (b"a long first content", b"short", b""):
        store.write(f"{root}/deep/down/f", content)
        assert store.read(f"{root}/deep/down/f") == content
    assert names_in(store, f"{root}/deep/down") == {"f": Kind.FILE}


def test_of_two_that_create_a_file_one_is_refused(store: Folders, root: str) -> None:
    store.create(f"{root}/v1", b"first")
    with pytest.raises(FileExistsError):
        store.create(f"{root}/v1", b"other")
    store.create(f"{root}/v1", b"first")
    assert store.read(f"{root}/v1") == b"first"
    assert names_in(store, root) == {"v1": Kind.FILE}


def test_of_many_that_create_a_file_at_once_one_wins(store: Folders, root: str) -> None:
    def create(content: bytes) -> bytes | None:
        try:
            store.create(f"{root}/v1", content)
        except FileExistsError:
            return None
        return content

    with ThreadPoolExecutor(8) as pool:
        made = [each for each in pool.map(create, (b"%d" % n for n in range(8))) if each]
    assert made == [store.read(f"{root}/v1")]


def test_what_was_written_whole_is_no_unfinished_upload(store: Folders, root: str) -> None:
    store.write(f"{root}/f", b"content")
    assert list(store.uploads(root)) == []


def test_a_moved_file_is_at_its_new_place_only_with_the_same_bytes(
    store: Folders, root: str
) -> None:
    store.write(f"{root}/data/f", b"content")
    store.move(f"{root}/data/f", f"{root}/.trash/run/data/f")
    assert not store.exists(f"{root}/data/f")
    assert store.read(f"{root}/.trash/run/data/f") == b"content"


def test_nothing_moves_to_a_place_that_is_taken(store: Folders, root: str) -> None:
    store.write(f"{root}/a", b"a")
    store.write(f"{root}/b", b"b")
    with pytest.raises(FileExistsError):
        store.move(f"{root}/a", f"{root}/b")
    assert (store.read(f"{root}/a"), store.read(f"{root}/b")) == (b"a", b"b")


def test_a_file_moved_with_a_new_age_is_no_older_than_that(store: Folders, root: str) -> None:
    store.write(f"{root}/a", b"a")
    written = store.stat(f"{root}/a")
    assert written is not None
    at_s = written.modified_ns / 1e9
    store.move(f"{root}/a", f"{root}/b", renewed_at_s=at_s - HOUR_S)
    moved = store.stat(f"{root}/b")
    assert moved is not None
    assert moved.modified_ns >= written.modified_ns - HOUR_S * 10**9 - 1_000


def test_a_deleted_file_is_gone_and_its_neighbour_is_not(store: Folders, root: str) -> None:
    store.write(f"{root}/a", b"")
    store.write(f"{root}/ab", b"")
    store.delete(f"{root}/a")
    assert names_in(store, root) == {"ab": Kind.FILE}
    store.sync(f"{root}/ab")


def test_pruning_removes_empty_folders_and_no_file(store: Folders, root: str) -> None:
    for name in ("run/data/day=1/f", "run/data/day=2/f", "run/keep/f"):
        store.write(f"{root}/{name}", b"x")
    store.delete(f"{root}/run/data/day=1/f")
    store.prune(f"{root}/run")
    assert names_in(store, f"{root}/run/data") == {"day=2": Kind.FOLDER}
    assert store.exists(f"{root}/run/keep/f")
    store.delete(f"{root}/run/data/day=2/f")
    store.delete(f"{root}/run/keep/f")
    store.prune(f"{root}/run")
    assert list(store.list(root)) == []


def test_a_place_is_its_own_place_and_one_of_its_forms(store: Folders, root: str) -> None:
    assert store.place(root) == root
    assert store.place(f"{root}/") == root
    assert list(store.forms(f"{root}/f")) == [f"{root}/f"]
    assert store.place("other://bucket/t") is None
    assert list(store.forms("other://bucket/f")) == []


@pytest.mark.parametrize("form", ["file:{}", "file://{}"])
def test_local_files_have_uris_too(tmp_path: Path, form: str) -> None:
    store, path = local_folders(), tmp_path.resolve() / "a b%20c"
    uri = form.format(path)
    store.write(uri, b"content")
    assert path.read_bytes() == b"content"
    assert store.place(uri) == str(path)
    assert str(path) in list(store.forms(uri))


def test_links_are_listed_as_links_and_lead_to_their_place(tmp_path: Path) -> None:
    root = tmp_path.resolve()
    (root / "real").mkdir()
    (root / "link").symlink_to(root / "real")
    store = local_folders()
    assert names_in(store, str(root)) == {"real": Kind.FOLDER, "link": Kind.LINK}
    assert store.place(str(root / "link" / "f")) == str(root / "real" / "f")


@pytest.mark.parametrize(
    ("location", "place"),
    [
        ("/lake/t", "/lake/t"),
        ("file:///lake/t", "/lake/t"),
        ("s3://b/t", "s3://b/t"),
        ("s3a://b/t/", "s3://b/t"),
        ("gs://b/t", None),
        ("hdfs://n/t", None),
    ],
)
def test_stores_without_a_form_are_refused_by_name(location: str, place: str | None) -> None:
    from headrace.errors import UnsupportedTableError

    act: Callable[[], Folders] = lambda: folders_of(location, MemoryIO(Bucket()), table="raw.t")
    assert has_folders(location) is (place is not None)
    if place is not None:
        assert act().place(location) == place
        return
    with pytest.raises(UnsupportedTableError) as raised:
        act()
    assert raised.value.table == "raw.t"
