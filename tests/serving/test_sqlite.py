"""What the embedded store does not do: work or files that grow without need."""

import resource
import threading
import time
from pathlib import Path

from headrace.errors import DatabaseUnavailableError
from headrace.serving.sqlite import SQLiteOnlineStore
from headrace.serving.sqlite_connections import Connections
from tests.raising import refused
from tests.serving.ranked import ITEMS, item

ROWS = 20_000


def test_a_small_put_does_not_count_the_rows_of_the_view(tmp_path: Path) -> None:
    with SQLiteOnlineStore(tmp_path / "online.db") as store:
        store.replace(ITEMS, (item(number) for number in range(ROWS)))
        steps: list[None] = []
        store._connections.writer.set_progress_handler(  # pyright: ignore[reportPrivateUsage]
            lambda: steps.append(None), 1_000
        )
        store.put(ITEMS, [item(number) for number in (1, ROWS, ROWS + 1)])
        store._connections.writer.set_progress_handler(None, 0)  # pyright: ignore[reportPrivateUsage]
        fresh = store.freshness(ITEMS.view)
    assert fresh is not None
    assert fresh.rows == ROWS + 2
    assert len(steps) < 5  # counting takes several steps a row


def test_the_log_stays_short_though_readers_overlap_without_a_gap(tmp_path: Path) -> None:
    connections = Connections(tmp_path / "online.db", log_bytes_max=100_000)
    with connections.writing() as cursor:
        cursor.execute("create table numbers (number integer, text text)")
    done, longest = threading.Event(), 0

    def read() -> None:
        while not done.is_set():
            with connections.reading() as cursor:
                cursor.execute("select max(number) from numbers").fetchone()
                time.sleep(0.002)

    readers = [threading.Thread(target=read) for _ in range(4)]
    for each in readers:
        each.start()
    for number in range(300):
        with connections.writing() as cursor:
            cursor.execute("insert into numbers values (?, ?)", (number, "x" * 3_000))
        longest = max(longest, (tmp_path / "online.db-wal").stat().st_size)
    done.set()
    for each in readers:
        each.join()
    connections.close()
    assert longest < 1_000_000  # without that it is above 3 MB


def test_a_log_that_cannot_be_shortened_fails_no_write_that_was_committed(tmp_path: Path) -> None:
    connections, written = Connections(tmp_path / "online.db", log_bytes_max=150_000), 0
    with connections.writing() as cursor:
        cursor.execute("create table numbers (number integer, text text)")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, before[1]))
    try:
        with refused(DatabaseUnavailableError):
            while True:
                with connections.writing() as cursor:
                    cursor.execute("insert into numbers values (?, ?)", (written, "x" * 3_000))
                written += 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    with connections.writing() as cursor:
        assert cursor.execute("select count(*) from numbers").fetchone() == (written,)
    waits_ms = connections.writer.execute("pragma busy_timeout").fetchone()
    connections.close()
    assert waits_ms == (30_000,)


def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    path = tmp_path / "online.db"
    path.mkdir()
    with refused(DatabaseUnavailableError) as found:
        SQLiteOnlineStore(path)
    assert f"must be able to write `{path}` and its folder" in found.value.detail
