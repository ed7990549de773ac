"""What the system says of files: which are open, and disks that are full, real or by a limit."""

import ctypes
import os
import resource
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from tests.processes import CONTEXT
from tests.waiting import WAIT_S

_NEW_MOUNTS, _NEW_USERS = 0x0002_0000, 0x1000_0000  # CLONE_NEWNS and CLONE_NEWUSER of sched.h


@contextmanager
def room_for(bytes_max: int) -> Generator[None]:
    """Let the kernel refuse files that grow beyond this, as a full disk would."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_max, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def held_open() -> set[str]:
    """Return the files that this process has open, by their real paths."""
    return {os.path.realpath(each) for each in Path("/proc/self/fd").iterdir()}


class SmallDisk:
    """A disk at `folder`; where this host lets nobody mount one (not `mounted`), a limit stands in."""

    def __init__(self, folder: Path, *, mounted: bool) -> None:
        self.folder, self.mounted = folder, mounted

    @contextmanager
    def filled(self, *, left_bytes: int) -> Generator[None]:
        """Fill it up to the last few bytes."""
        if not self.mounted:
            with room_for(left_bytes):
                yield
            return
        ballast = self.folder / "ballast"
        _fill(ballast)
        os.truncate(ballast, max(0, ballast.stat().st_size - left_bytes))
        yield
        ballast.unlink()


def on_small_disk(folder: Path, scenario: Callable[[SmallDisk], None], *, mib: int) -> None:
    """Run a scenario in a process that sees a disk of this size at `folder`; its asserts must hold."""
    folder.mkdir(parents=True)
    process = CONTEXT.Process(target=_run, args=(folder, scenario, mib))
    process.start()
    process.join(timeout=WAIT_S)
    assert process.exitcode == 0, process.exitcode


def _run(folder: Path, scenario: Callable[[SmallDisk], None], mib: int) -> None:
    scenario(SmallDisk(folder, mounted=_mount(folder, mib=mib)))


def _mount(folder: Path, *, mib: int) -> bool:
    """Mount a disk in memory that only this process sees; the kernel may not let it."""
    user, group = os.getuid(), os.getgid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_NEW_MOUNTS | _NEW_USERS):
        return False
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {user} 1")
    Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    return not libc.mount(b"none", os.fsencode(folder), b"tmpfs", 0, f"size={mib}m".encode())


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as ballast:
        try:
            while ballast.write(bytes(4096)):
                pass
        except OSError:
            return
