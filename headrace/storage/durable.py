"""Fsync of files and of every folder that leads to them; the only place that calls it."""

import contextlib
import os
from functools import lru_cache
from pathlib import Path


def sync(path: str) -> None:
    """Let a file and its name survive a power cut from now on.

    Raises:
        OSError: If the disk refuses.

    """
    folder = os.path.dirname(path)  # noqa: PTH120 - hot path, one call per file of a commit
    _force(path)
    _force(folder)
    keep_folder(folder)


def sync_content(path: str) -> None:
    """Let the content of a file survive a power cut, before another name is given to it.

    Raises:
        OSError: If the disk refuses.

    """
    _force(path)


def make_folder(folder: str) -> None:
    """Make a folder, and those above it that are missing, so that they survive a power cut.

    Raises:
        OSError: If one cannot be made.

    """
    missing: list[Path] = []
    at = Path(folder)
    while not at.is_dir():
        missing.append(at)
        at = at.parent
    for each in reversed(missing):
        with contextlib.suppress(FileExistsError):  # another process was faster
            each.mkdir()
        _force(str(each.parent))


def keep_folder(folder: str) -> None:
    """Let a folder survive a power cut: a file in it is lost with any folder above it.

    Raises:
        OSError: If the disk refuses.

    """
    status = os.stat(folder)  # noqa: PTH116 - hot path
    _keep(folder, status.st_dev, status.st_ino)


# Each process fsyncs a folder once, even one created by another process, which may not have fsynced
# it yet. A folder that is removed and created again has another inode.
@lru_cache(maxsize=4096)
def _keep(folder: str, _device: int, _inode: int) -> None:
    above = str(Path(folder).parent)
    if above == folder:
        return
    try:
        _force(above)
    except PermissionError:
        return  # this process cannot read the folder above, so it did not create `folder` either
    keep_folder(above)


def _force(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
