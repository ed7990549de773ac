"""Locations of files, as Iceberg metadata names them: local paths, syncing and removing."""

import contextlib
from urllib.parse import urlparse

from pyiceberg.io import FileIO

from headrace.storage import durable


def local_path(location: str) -> str:
    """Turn a `file:` location into a path; other locations stay as they are."""
    if not location.startswith("file:"):
        return location
    return urlparse(location).path if "%" in location else location[5:].removeprefix("//")


def remove(io: FileIO, location: str) -> None:
    """Remove a file that no snapshot names; one that cannot be removed is for clean-up to find."""
    with contextlib.suppress(OSError):
        io.delete(location)


def sync_file(location: str) -> None:
    """Force a local file and its name to disk; other stores are durable on close."""
    path = local_path(location)
    if path.startswith("/"):
        durable.sync(path)
