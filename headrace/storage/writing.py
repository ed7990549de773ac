"""Write files that do not depend on each other: durable once it returns, and at once on a store."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from pyiceberg.io import FileIO

from headrace.storage.locations import local_path, sync_file

_AT_ONCE = 8


def write_all(io: FileIO, files: Mapping[str, bytes]) -> None:
    """Write or replace files, by location; none is under way any more when this ends.

    A local disk gets one after the other, in their order. A store is given several at once, as each
    waits for its answer.

    Raises:
        OSError: The first that the disk or store refuses; others may be written.

    """
    away = [each for each in files if not local_path(each).startswith("/")]
    if len(away) < 2:
        for location, content in files.items():
            _write(io, location, content)
        return
    *others, own = files
    with ThreadPoolExecutor(min(len(others), _AT_ONCE)) as pool:
        begun = [pool.submit(_write, io, location, files[location]) for location in others]
        _write(io, own, files[own])
    for each in begun:
        each.result()


def _write(io: FileIO, location: str, content: bytes) -> None:
    with io.new_output(location).create(overwrite=True) as stream:
        stream.write(content)
    sync_file(location)
