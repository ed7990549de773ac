"""Write intents: which files on disk belong to a writer that runs and has not committed yet.

A writer adds one row to the registry before its first file and names its files after that row, so
that clean-up tells a file in flight from an orphan file, however old it is.
"""

import contextlib
import os
import re
import socket
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pyiceberg.manifest import DataFile

from headrace.errors import DatabaseUnavailableError
from headrace.registry import Registry, WriteRecord
from headrace.registry.writes import LAPSE_S

_NAME = re.compile(r"(?:[01]+-)?([0-9a-f]{32})-\d{5,}\.parquet")  # a hash may stand before it
_START_TICKS = 22 - 3  # in /proc/<pid>/stat, whose third field, the state, is the first we look at
_HIDDEN = 0  # of a process that runs and may not be looked at
_GRACE_S = 60.0  # a renewal that the reader does not see yet may have been made in time
_GONE = frozenset("ZXx")  # a zombie has ended and only waits for its parent to notice


@dataclass(frozen=True, kw_only=True)
class Intents:
    """The unfinished writes of a lake, told apart by whether their writer still runs."""

    live: frozenset[str]
    dead: frozenset[str]

    def protects(self, file_name: str) -> bool:
        """Whether this file belongs to a writer that still runs."""
        return write_id_of(file_name) in self.live


def begin(registry: Registry, *, table: str, location: str) -> str:
    """Announce a writer; return the id its files are named after.

    A registry that is locked or missing does not stop writing: only their age protects such files
    from clean-up then.
    """
    write_id = uuid.uuid4().hex
    host, boot_id, pid, start_ticks = _this_process(os.getpid())
    record = WriteRecord(
        write_id=write_id,
        table=table,
        location=location,
        host=host,
        boot_id=boot_id,
        pid=pid,
        process_start_ticks=start_ticks,
    )
    with contextlib.suppress(DatabaseUnavailableError):
        registry.begin_write(record)
    return write_id


def end(registry: Registry, write_ids: Iterable[str]) -> None:
    """Remove announcements; one that cannot be removed ends with its process."""
    ended = set(write_ids)
    if ended:
        with contextlib.suppress(DatabaseUnavailableError):
            registry.end_writes(ended)


def landed(registry: Registry, files: Iterable[DataFile]) -> None:
    """End the writes of files that a snapshot names now.

    Where one writer's files land in several commits, only their age protects them after the first.
    """
    names = (file.file_path.rpartition("/")[2] for file in files)
    end(registry, (found for name in names if (found := write_id_of(name))))


def write_id_of(file_name: str) -> str | None:
    """Read the write id from a file's name, None if no writer of ours named it."""
    match = _NAME.fullmatch(file_name)
    return match.group(1) if match else None


def lapsed(registry: Registry, files: Iterable[DataFile]) -> str | None:
    """Return a writer of these files whose lease lapsed before its commit; None if there is none.

    Clean-up on another host may have taken it for dead. What the registry never knew of, as it did
    not answer at the time, has no lease. Those that are held are renewed.

    A registry in a file serves one host, where a writer that runs is seen to run: nothing lapses.

    Raises:
        DatabaseUnavailableError: If the registry does not answer.

    """
    if registry.engine.dialect.name != "postgresql":
        return None
    names = (file.file_path.rpartition("/")[2] for file in files)
    wanted = {found for name in names if (found := write_id_of(name))}
    missing = wanted - registry.renew_writes(wanted)
    if not missing:
        return None
    recorded = {record.write_id for record in registry.writes()}
    over = {each for each in missing if each in recorded or registry.heartbeat.keeps(each)}
    return min(over, default=None)


def unfinished(registry: Registry) -> Intents:
    """Tell the unfinished writes of running processes from those of ended ones.

    A process of this host and boot is looked up. Others cannot be: they count as running as long as
    they renew their leases, by the clock of the registry.

    Raises:
        DatabaseUnavailableError: If the registry cannot be read.

    """
    live: set[str] = set()
    dead: set[str] = set()
    over_ms = registry.clock.asked_ms() - int((LAPSE_S + _GRACE_S) * 1000)
    for record in registry.writes():
        running = _is_running(record)
        if running is None:
            running = max(record.started_at_ms, record.renewed_at_ms) > over_ms
        (live if running else dead).add(record.write_id)
    return Intents(live=frozenset(live), dead=frozenset(dead))


def _is_running(record: WriteRecord) -> bool | None:
    """Whether the writing process lives; None if it cannot be seen from here."""
    host, boot_id, _, _ = _this_process(os.getpid())
    if not boot_id or (record.host, record.boot_id) != (host, boot_id):
        return None
    ticks = _start_ticks(record.pid)
    return ticks is not None and ticks in (record.process_start_ticks, _HIDDEN)


@lru_cache(maxsize=4)
def _this_process(pid: int) -> tuple[str, str, int, int]:
    """Say who writes: host, boot with the namespace that process ids count in, id, start."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        namespace = str(Path("/proc/self/ns/pid").readlink())
    except OSError:  # not Linux: no process can be looked up, so only age tells
        return socket.gethostname(), "", pid, 0
    return socket.gethostname(), f"{boot} {namespace}", pid, _start_ticks(pid) or 0


def _start_ticks(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None if it has ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return _HIDDEN if _exists(pid) else None
    # the command may hold spaces and brackets: everything up to the last one is skipped
    facts = stat.rpartition(")")[2].split()
    return None if facts[0] in _GONE else int(facts[_START_TICKS])


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's process, on a host that hides those
        return True
    return True
