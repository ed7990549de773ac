"""The launcher: real processes of small servers, started, probed, killed and stopped."""

import errno
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import pytest

from infra.launcher import artifacts, run
from infra.launcher import cluster as launcher_cluster
from infra.launcher.artifacts import MavenFile
from infra.launcher.cluster import Cluster, write_private
from infra.launcher.errors import (
    ClusterBusyError,
    FetchFailedError,
    LauncherError,
    MissingProgramError,
    StartFailedError,
    WrongArtifactError,
)
from infra.launcher.postgres import Postgres
from infra.launcher.server import Launch
from tests.waiting import WAIT_S, wait_until

LISTEN = """
import socket, sys, time
with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as listening:
    while True:
        listening.accept()[0].close()
"""


class Small:
    """A server that accepts connections on its port."""

    start_s_max = 20.0
    stop_s_max = 5.0
    stop_signal = signal.SIGTERM

    def __init__(self, name: str, *, after: tuple[str, ...] = (), code: str = LISTEN) -> None:
        self.name, self.after, self._code = name, after, code
        self.ports: tuple[str, ...] = (name,)
        self.fetched = 0

    def check(self) -> None:
        pass

    def fetch(self) -> None:
        self.fetched += 1

    def prepare(self, cluster: Cluster) -> None:
        cluster.of(self.name).mkdir(parents=True, exist_ok=True)

    def launch(self, cluster: Cluster) -> Launch:
        command = [sys.executable, "-S", "-c", self._code, str(cluster.port(self.name))]
        return Launch(command=command, folder=cluster.of(self.name))

    def probe(self, cluster: Cluster) -> None:
        socket.create_connection(("127.0.0.1", cluster.port(self.name)), timeout=2).close()

    def set_up(self, cluster: Cluster) -> None:
        pass

    def address(self, cluster: Cluster) -> str:
        return f"127.0.0.1:{cluster.port(self.name)}"


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    servers = (Small("one"), Small("two", after=("one",)))
    monkeypatch.setattr(run, "SERVERS", servers)
    made = Cluster(tmp_path / "cluster")
    yield made
    run.down(made, say=quiet)


def quiet(_: str) -> None:
    """Say nothing."""


def test_servers_start_once_are_healthy_and_stop(cluster: Cluster) -> None:
    run.up(cluster, run.SERVERS, say=quiet)
    pids = [cluster.pid("one"), cluster.pid("two")]
    assert all(pids)
    run.up(cluster, run.SERVERS, say=quiet)
    assert [cluster.pid("one"), cluster.pid("two")] == pids
    assert all(each.healthy for each in run.status(cluster))
    run.down(cluster, say=quiet)
    assert not any(each.running for each in run.status(cluster))
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid or 0, 0)


def test_a_server_that_fails_takes_down_what_was_begun_with_it_and_no_other(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.up(cluster, run.SERVERS[:1], say=quiet)
    before = cluster.pid("one")
    fails = Small("three", code="import sys; sys.exit('no room')")
    monkeypatch.setattr(run, "SERVERS", (*run.SERVERS, fails))
    said: list[str] = []
    with pytest.raises(StartFailedError) as caught:
        run.up(cluster, run.SERVERS, say=said.append)
    assert caught.value.server == "three"
    assert any("no room" in line for line in said)
    assert cluster.pid("one") == before
    assert cluster.pid("two") is None


def test_a_killed_server_is_started_again(cluster: Cluster) -> None:
    run.up(cluster, run.SERVERS, say=quiet)
    pid = cluster.pid("one")
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert cluster.pid("one") is None
    run.up(cluster, run.SERVERS, say=quiet)
    assert cluster.pid("one") not in (None, pid)


def test_another_process_with_the_id_of_an_ended_server_is_left_alone(cluster: Cluster) -> None:
    with subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"]) as bystander:
        cluster.started("one", bystander.pid)
        known = json.loads((cluster.folder / "processes.json").read_text())
        known["one"]["start_ticks"] -= 1  # as of a process that had this id before
        (cluster.folder / "processes.json").write_text(json.dumps(known))
        run.down(cluster, say=quiet)
        assert bystander.poll() is None
        bystander.kill()


def test_ports_and_passwords_stay_the_same_and_passwords_are_private(tmp_path: Path) -> None:
    first, again, other = (Cluster(tmp_path / name) for name in ("a", "a", "b"))
    assert first.port("x") == again.port("x") != first.port("y")
    assert first.secret("x") == again.secret("x") != other.secret("x")
    assert (tmp_path / "a" / "secrets.json").stat().st_mode & 0o077 == 0


def test_two_launchers_do_not_work_on_one_cluster(cluster: Cluster) -> None:
    with cluster.locked(), pytest.raises(ClusterBusyError), cluster.locked():
        pass


def test_a_server_run_by_others_is_only_probed(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", cluster.port("one"))):
        monkeypatch.setenv("HEADRACE_ONE_URL", "127.0.0.1")
        run.up(cluster, run.SERVERS[:1], say=quiet)
        assert cluster.pid("one") is None
        assert run.status(cluster)[0].detail == "elsewhere"


def test_a_server_that_another_one_needs_cannot_be_left_out(cluster: Cluster) -> None:
    assert [each.name for each in run.wanted(["two"])] == ["one"]
    with pytest.raises(LauncherError):
        run.wanted(["one"])
    with pytest.raises(LauncherError):
        run.wanted(["tow"])


def test_an_artifact_that_is_not_the_pinned_one_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = b"as published"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    fake = tmp_path / "bin" / "mvn"  # Maven itself would need a network
    fake.parent.mkdir()
    fake.write_text(
        f"#!{sys.executable}\nimport pathlib, sys\n"
        "folder = sys.argv[-1].partition('=')[2]\n"
        f"pathlib.Path(folder, 'thing-1.zip').write_bytes({content!r})\n"
    )
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(fake.parent))
    pinned = hashlib.sha256(content).hexdigest()
    right = MavenFile(coordinates="org:thing:1:zip", sha256=pinned, server="trino")
    wrong = MavenFile(coordinates="org:thing:1:zip", sha256="0" * 64, server="trino")
    with pytest.raises(WrongArtifactError) as caught:
        wrong.fetch()
    assert caught.value.found == pinned
    assert list((tmp_path / "cache").rglob("*.zip")) == []
    assert right.fetch().read_bytes() == content
    fake.unlink()
    assert right.fetch().is_file()  # from the cache: nothing is asked


def test_a_missing_program_is_named_with_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingProgramError) as caught:
        MavenFile(coordinates="org:thing:1:zip", sha256="", server="trino").fetch()
    assert (caught.value.program, caught.value.server) == ("mvn", "trino")


def test_missing_programs_are_named_before_any_server_is_fetched(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = run.SERVERS
    assert isinstance(first, Small)

    def lacks() -> None:
        raise MissingProgramError("mvn", package="maven", server="two")

    monkeypatch.setattr(second, "check", lacks)
    with pytest.raises(MissingProgramError):
        run.up(cluster, run.SERVERS, say=quiet)
    assert first.fetched == 0
    monkeypatch.setenv("HEADRACE_TWO_URL", "127.0.0.1")  # nothing is needed for another's server
    run.fetch(run.SERVERS, say=quiet)
    assert first.fetched == 1


def test_an_unpacked_archive_is_whole_or_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def breaks(folder: Path) -> None:
        (folder / "half").touch()
        raise OSError

    with pytest.raises(OSError):
        artifacts.unpacked(name="server-1", into=breaks)
    assert not (artifacts.cache_folder() / "server-1").exists()
    whole = artifacts.unpacked(name="server-1", into=lambda folder: (folder / "all").touch())
    assert [each.name for each in whole.iterdir()] == ["all"]


def test_a_server_that_does_not_heed_its_signal_is_killed(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    deaf = Small(
        "deaf", code="import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + LISTEN
    )
    deaf.stop_s_max = 0.3
    monkeypatch.setattr(run, "SERVERS", (deaf,))
    run.up(cluster, run.SERVERS, say=quiet)
    began = time.monotonic()
    run.down(cluster, say=quiet)
    assert cluster.pid("deaf") is None
    assert time.monotonic() - began < deaf.start_s_max


def test_a_port_that_another_program_took_is_replaced_and_so_are_those_who_know_it(
    cluster: Cluster,
) -> None:
    run.up(cluster, run.SERVERS, say=quiet)
    run.stop(cluster, run.SERVERS[0])
    taken, dependent = cluster.port("one"), cluster.pid("two")
    with socket.create_server(("127.0.0.1", taken)):
        run.up(cluster, run.SERVERS, say=quiet)
        assert cluster.port("one") != taken
        assert all(each.healthy for each in run.status(cluster))
        assert cluster.pid("two") not in (None, dependent)


def test_a_server_that_ended_is_not_healthy_though_another_program_answers_on_its_port(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails = Small("three", code="import sys; sys.exit('no room')")
    monkeypatch.setattr(run, "SERVERS", (fails,))
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        monkeypatch.setattr(
            fails,
            "probe",
            lambda _: (
                wait_until(lambda: cluster.pid("three") is None),
                socket.create_connection(("127.0.0.1", port)).close(),
            ),
        )
        with pytest.raises(StartFailedError):
            run.up(cluster, run.SERVERS, say=quiet)


def test_a_process_that_ended_before_it_was_recorded_does_not_run(cluster: Cluster) -> None:
    with subprocess.Popen([sys.executable, "-S", "-c", ""]) as ended:
        ended.wait()
    cluster.started("one", ended.pid)
    assert cluster.pid("one") is None
    run.down(cluster, say=quiet)


def test_a_port_for_a_server_is_none_that_connections_get() -> None:
    given = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    first = launcher_cluster.free_port()
    assert not int(given[0]) <= first <= int(given[1])
    with socket.create_server(("127.0.0.1", first)):
        assert launcher_cluster.free_port() != first


def test_two_commands_that_take_ports_at_once_lose_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = Cluster(tmp_path), Cluster(tmp_path)
    free, beside = launcher_cluster.free_port, list[threading.Thread]()

    def while_another_asks(*, taken: frozenset[int]) -> int:
        if not beside:
            beside.append(threading.Thread(target=other.port, args=("two",)))
            beside[0].start()
            beside[0].join(0.2)  # without turns it is done by then, and lost
        return free(taken=taken)

    monkeypatch.setattr(launcher_cluster, "free_port", while_another_asks)
    taken = one.port("one")
    beside[0].join(WAIT_S)
    assert json.loads((tmp_path / "ports.json").read_text()).keys() == {"one", "two"}
    assert one.port("one") == taken != other.port("two")


def test_a_process_of_another_boot_is_left_alone(cluster: Cluster) -> None:
    with subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"]) as bystander:
        cluster.started("one", bystander.pid)
        known = json.loads((cluster.folder / "processes.json").read_text())
        known["one"]["boot_id"] = "of the boot before"
        (cluster.folder / "processes.json").write_text(json.dumps(known))
        run.down(cluster, say=quiet)
        assert bystander.poll() is None
        bystander.kill()


def test_a_process_of_another_container_is_left_alone(cluster: Cluster) -> None:
    with subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"]) as bystander:
        cluster.started("one", bystander.pid)
        assert cluster.pid("one") == bystander.pid
        known = json.loads((cluster.folder / "processes.json").read_text())
        known["one"]["pid_namespace"] = "pid:[1]"
        (cluster.folder / "processes.json").write_text(json.dumps(known))
        run.down(cluster, say=quiet)
        assert bystander.poll() is None
        bystander.kill()


def test_clusters_of_two_checkouts_run_side_by_side(cluster: Cluster, tmp_path: Path) -> None:
    other = Cluster(tmp_path / "other checkout")
    run.up(cluster, run.SERVERS, say=quiet)
    run.up(other, run.SERVERS, say=quiet)
    try:
        assert {cluster.port("one"), cluster.port("two")}.isdisjoint(
            {other.port("one"), other.port("two")}
        )
        run.down(cluster, say=quiet)
        assert all(each.healthy for each in run.status(other))
    finally:
        run.down(other, say=quiet)


def test_a_server_that_ends_while_it_is_stopped_counts_as_stopped(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.up(cluster, run.SERVERS[:1], say=quiet)
    pid = cluster.pid("one")
    assert pid is not None

    def ends_just_before(found: int, _: int) -> None:
        os.killpg(found, signal.SIGKILL)
        os.waitpid(found, 0)
        raise ProcessLookupError

    with monkeypatch.context() as patch:  # the moment between two lines cannot be met otherwise
        patch.setattr(os, "kill", ends_just_before)
        run.down(cluster, say=quiet)
    assert cluster.pid("one") is None


def test_a_process_that_cannot_be_recorded_is_ended(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    pids: list[int] = []

    def full(_: str, pid: int) -> None:
        pids.append(pid)
        raise OSError(errno.ENOSPC, "no room")

    monkeypatch.setattr(Cluster, "started", lambda _, server, pid: full(server, pid))
    with pytest.raises(OSError, match="no room"):
        run.up(cluster, run.SERVERS[:1], say=quiet)
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


def test_a_relative_cluster_folder_is_one_of_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HEADRACE_CLUSTER_DIR", "servers of mine")
    assert Cluster.of_checkout().folder == tmp_path / "servers of mine"


def test_a_private_file_is_private_also_where_one_was_there(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.touch(mode=0o644)
    write_private(path, "secret")
    assert path.stat().st_mode & 0o077 == 0
    assert path.read_text() == "secret"


def test_the_address_of_a_database_that_others_run_is_theirs_without_its_password(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADRACE_POSTGRES_URL", "postgresql://me:secret@there/elsewhere")
    assert Postgres().address(cluster) == "there:5432/lake"


def test_a_package_that_two_launchers_want_at_once_is_unpacked_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    begun, may_end, done = threading.Event(), threading.Event(), list[str]()

    def first(folder: Path) -> None:
        begun.set()
        assert may_end.wait(WAIT_S)
        (folder / "first").touch()
        done.append("first")

    def second(folder: Path) -> None:
        done.append("second")

    with ThreadPoolExecutor(2) as launchers:
        one = launchers.submit(artifacts.unpacked, name="server-1", into=first)
        assert begun.wait(WAIT_S)
        other = launchers.submit(artifacts.unpacked, name="server-1", into=second)
        assert not wait([other], timeout=0.1).done  # it waits for the first
        may_end.set()
        assert one.result() == other.result()
    assert done == ["first"]
    assert [each.name for each in one.result().iterdir()] == ["first"]


def test_a_fetch_without_an_answer_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(artifacts, "_FETCH_S_MAX", 0.2)
    hangs = tmp_path / "mvn"
    hangs.write_text(f"#!{sys.executable}\nimport time\ntime.sleep(30)\n")
    hangs.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FetchFailedError):
        MavenFile(coordinates="org:thing:1:zip", sha256="", server="trino").fetch()
