"""Forcing files to disk, with the entries of every folder that leads to them."""

import os
from functools import lru_cache
from pathlib import Path


def sync(path: str) -> None:
    """Let a file and its name survive a power cut from now on."""
    folder = os.path.dirname(path)  # noqa: PTH120 - hot path, one call per file of a commit
    _force(path)
    _force(folder)
    keep_folder(folder)


def keep_folder(folder: str) -> None:
    """Let a folder survive a power cut: a file in it is lost with any folder above it."""
    status = os.stat(folder)  # noqa: PTH116 - hot path
    _keep(folder, status.st_dev, status.st_ino)


# Each process forces a folder once, even where another made it: that one may not have come to it
# yet. A folder that is removed and made anew has another inode.
@lru_cache(maxsize=4096)
def _keep(folder: str, _device: int, _inode: int) -> None:
    above = str(Path(folder).parent)
    if above == folder:
        return
    try:
        _force(above)
    except PermissionError:
        return  # what this process may not read, it has not made either
    keep_folder(above)


def _force(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
