"""Opening data and delete files for reading: only here, and with the credentials of the catalog."""

from collections.abc import Generator
from contextlib import contextmanager

import pyarrow as pa
from pyiceberg.io import FileIO

from headrace.storage.failures import unreadable
from headrace.storage.locations import local_path

_WHOLE_BYTES_MAX = 512 * 1024


def open_input(io: FileIO, location: str) -> pa.NativeFile:
    """Open a file for reads at any position; the caller closes it.

    `io` is that of the table, as its catalog made it. A local file is opened without it: that takes
    12 µs and not 17, and a plan or a check opens every file of a table. A small file of another store
    is read at once: its footer and its columns would be a request each.

    Raises:
        OSError: If the file is missing or cannot be opened; `reading` names it.

    """
    path = local_path(location)
    if "://" not in path:
        return pa.OSFile(path)
    opened = io.new_input(location).open(seekable=True)
    if isinstance(opened, pa.NativeFile):
        return _whole_if_small(opened)
    return pa.PythonFile(opened, mode="r")


def _whole_if_small(opened: pa.NativeFile) -> pa.NativeFile:
    size = opened.size()
    if size > _WHOLE_BYTES_MAX:
        return opened
    with opened:
        return pa.BufferReader(opened.read_at(size, 0))


def is_local(source: pa.NativeFile) -> bool:
    """Whether an open file is on a local disk, where small reads cost little; elsewhere coalesce them."""
    return isinstance(source, pa.OSFile | pa.MemoryMappedFile)


@contextmanager
def reading(path: str) -> Generator[None]:
    """Enclose opening and decoding a Parquet file: what a damaged one raises names the file.

    Raises:
        CorruptFileError: If the file is missing, unreadable, truncated or damaged.
        StoreUnavailableError: If its store does not answer.

    """
    try:
        yield
    except (OSError, pa.ArrowException, UnicodeDecodeError, KeyError) as error:
        raise unreadable(path, error) from error
