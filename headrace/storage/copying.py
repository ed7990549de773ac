"""Copies files from one store to another, as often as it takes: what is there whole stays."""

import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from pyiceberg.io import FileIO

from headrace.errors import StorageError
from headrace.storage.folders import Folders
from headrace.storage.inputs import open_input, reading
from headrace.storage.locations import local_path, remove

_THREADS = 8
_CHUNK_BYTES = 8 * 1024 * 1024


def copy_files(
    sizes: Mapping[str, int],
    targets: Mapping[str, str],
    *,
    read: FileIO,
    write: FileIO,
    store: Folders,
) -> None:
    """Copy each file of `sizes`, in bytes, to its target, unless one of that size is there.

    `store` is where the targets lie. Files must never change once they are written. What a kill left
    of one is copied again.

    Raises:
        CorruptFileError: If a file is missing.
        StorageError: If one cannot be written; nothing of it stays.

    """
    there = store.stats(list(targets.values()))
    missing = [
        path
        for path, bytes_wanted in sizes.items()
        if (facts := there.get(targets[path])) is None or facts.bytes != bytes_wanted
    ]
    with ThreadPoolExecutor(_THREADS) as threads:
        copy = partial(_copy, read=read, write=write, store=store)
        for _ in threads.map(copy, missing, [targets[path] for path in missing]):
            pass


def _copy(path: str, to: str, *, read: FileIO, write: FileIO, store: Folders) -> None:
    with reading(path), open_input(read, local_path(path)) as source:
        bytes_here = source.size()
        try:
            with write.new_output(to).create(overwrite=True) as output:
                shutil.copyfileobj(source, output, _CHUNK_BYTES)
        except OSError as error:
            remove(write, to)
            raise StorageError.of(local_path(to), error) from error
    facts = store.stat(to)
    if facts is None or facts.bytes != bytes_here:
        remove(write, to)
        raise StorageError(local_path(to), "it was not written whole")
    store.sync(to)
