"""The proofs of commits again where catalog and registry are on PostgreSQL, and hosts share them."""

import random
import tempfile
import threading
import time
from collections.abc import Generator
from pathlib import Path

import pytest

from headrace.api import Lake
from headrace.config import Settings
from headrace.errors import CommitOutcomeUnknownError, DatabaseUnavailableError
from headrace.identifiers import TableName
from headrace.tables.commits import operations
from headrace.tables.refs import refs
from infra.launcher import run
from infra.launcher.cluster import Cluster
from infra.launcher.postgres import Postgres, url
from tests.amounts import seed_of_today
from tests.postgres import postgres
from tests.processes import exit_code, start
from tests.proofs.invariants import check
from tests.proofs.jobs import STREAM, ingest, stream_rows
from tests.proofs.operations import Operation, rows_of
from tests.proofs.test_eight_processes import SECONDS_LONG, SECONDS_SHORT, run_workers
from tests.proofs.test_interleaving import FIRST, SECOND, interrupted_by
from tests.servers import host, new_database, on_servers
from tests.tables.factories import events_table

pytestmark = pytest.mark.slow

KILLED = -9
WAIT_S = 300
OFFSETS = 30
OF_COMMITS = (
    "commit.after_data_files",
    "commit.after_manifests",
    "commit.after_swap",
    "commit.after_record",
)
OF_UPDATES = ("updates.before_swap", "updates.after_swap")


@pytest.fixture(scope="module")
def server() -> Generator[str]:
    with postgres() as uri:
        yield uri


@pytest.fixture
def shared(settings: Settings, server: str, tmp_path: Path) -> Generator[Settings]:
    with new_database(server) as database:
        yield on_servers(settings, database, folder=tmp_path / "warehouse")


def _ingest(settings: Settings, name: str, end: int) -> None:
    with Lake.open(settings) as lake:
        ingest(lake.table(name), end=end)


def _tag(settings: Settings, name: str) -> None:
    with Lake.open(settings) as lake:
        table = lake.table(name)
        if "kept" not in refs.tags(table):
            head = table.head().snapshot_id
            assert head is not None
            refs.tag(table, "kept", snapshot_id=head)


def test_a_host_killed_at_any_boundary_of_a_commit_is_made_up_for_by_another(
    shared: Settings,
) -> None:
    with Lake.open(host(shared, "other")) as lake:
        for number, point in enumerate((*OF_COMMITS, *OF_UPDATES)):
            name = f"raw.t{number}"
            table = events_table(lake, name)
            ingest(table, end=3)
            begun = table.head().snapshot_id
            assert begun is not None
            if point in OF_UPDATES:
                killed = start(_tag, host(shared, "killed"), name, crash_at=point)
            else:
                killed = start(_ingest, host(shared, "killed"), name, 7, crash_at=point)
            assert exit_code(killed) == KILLED, point
            seen = rows_of(table)
            assert seen in (stream_rows(range(3)), stream_rows(range(7))), point
            ingest(table, end=9)
            _tag(host(shared, "other"), name)
            assert rows_of(table) == stream_rows(range(9)), point
            assert "kept" in check(table, since=begun).refs
            recorded = {each.snapshot_id for each in lake.registry.commits(name)}
            alive = {each.snapshot_id for each in table.iceberg().metadata.snapshots}
            assert alive <= recorded, point


def test_operations_of_two_hosts_give_the_rows_of_one_order(
    shared: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(f"servers {seed_of_today()}")
    for moment in ("planned", "staged"):
        first, second = chance.choice(FIRST), chance.choice(SECOND)
        interrupted_by([second], shared, first, moment, monkeypatch=monkeypatch)


@pytest.mark.proof
@pytest.mark.parametrize("first", FIRST, ids=lambda each: each.name)
@pytest.mark.parametrize("moment", ["planned", "staged"])
def test_any_operations_of_two_hosts_give_the_rows_of_one_order(
    shared: Settings, first: Operation, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted_by(SECOND, shared, first, moment, monkeypatch=monkeypatch)


def test_eight_hosts_lose_and_double_nothing(shared: Settings, tmp_path: Path) -> None:
    run_workers(shared, tmp_path, seconds=SECONDS_SHORT, apart=True)


@pytest.mark.proof
@pytest.mark.timeout(300)
def test_eight_hosts_lose_and_double_nothing_in_a_minute(shared: Settings, tmp_path: Path) -> None:
    run_workers(shared, tmp_path, seconds=SECONDS_LONG, apart=True)


def test_a_server_that_restarts_during_commits_loses_and_doubles_nothing(
    settings: Settings, tmp_path: Path
) -> None:
    # not pytest's folder: the server's user may not enter that one
    with tempfile.TemporaryDirectory(prefix="headrace-postgres-") as made:
        cluster, server = Cluster(Path(made) / "cluster"), Postgres()  # with fsync
        run.up(cluster, [server], say=lambda _: None)
        try:
            shared = on_servers(settings, url(cluster), folder=tmp_path / "warehouse")
            with Lake.open(shared) as lake:
                table = events_table(lake, str(TableName("raw", "events")))
                failed: list[str] = []
                writer = threading.Thread(target=_ingest_all, args=(shared, failed))
                writer.start()
                deadline = time.monotonic() + WAIT_S
                while operations.offsets(table.head(), STREAM).get("a", 0) < OFFSETS // 3:
                    assert time.monotonic() < deadline
                    time.sleep(0.01)
                run.stop(cluster, server)
                run.up(cluster, [server], say=lambda _: None)
                writer.join(WAIT_S)
                assert not writer.is_alive()
                assert set(failed) <= {"DatabaseUnavailableError", "CommitOutcomeUnknownError"}
                assert rows_of(table) == stream_rows(range(OFFSETS))
                assert len(table.head().to_arrow()) == OFFSETS
        finally:
            run.stop(cluster, server)


def _ingest_all(settings: Settings, failed: list[str]) -> None:
    """Take the stream offset by offset; an error that allows it is answered by another try."""
    done = 0
    while done < OFFSETS:
        try:
            with Lake.open(host(settings, "writer")) as lake:
                while done < OFFSETS:
                    ingest(lake.table("raw.events"), end=done + 1)
                    done += 1
        except (DatabaseUnavailableError, CommitOutcomeUnknownError) as error:
            failed.append(type(error).__name__)
            time.sleep(0.05)
