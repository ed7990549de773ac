"""Folders on a local disk: renames to move, inode and time of change to tell versions apart."""

import contextlib
import errno
import os
import stat as modes
import uuid
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote

from headrace.errors import StorageError
from headrace.storage import durable
from headrace.storage.folders import Entry, Facts, Kind, Upload
from headrace.storage.locations import local_path


class LocalFolders:
    """The folders of this host's disks. Locations are paths or `file:` URIs; places are paths."""

    def place(self, location: str) -> str | None:
        """See `Folders.place`."""
        path = local_path(location)
        return str(Path(path).resolve()) if path.startswith("/") else None

    def forms(self, location: str) -> Iterator[str]:
        """See `Folders.forms`; engines differ on `#`, `?` and `%` in URIs."""
        # `%00` of a partition value stands for what no path can have
        return (path for path in _readings(location) if "\0" not in path)

    def list(self, folder: str) -> Sequence[Entry]:
        """See `Folders.list`. Without facts: asking for them takes as long as listing."""
        try:
            with os.scandir(local_path(folder)) as found:
                return [Entry(each.path, _kind(each)) for each in found]
        except (FileNotFoundError, NotADirectoryError):
            return []

    def stat(self, location: str) -> Facts | None:
        """See `Folders.stat`."""
        try:
            found = os.stat(local_path(location))  # noqa: PTH116  as many as a table has files
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return None
        if not modes.S_ISREG(found.st_mode):
            return None
        return Facts(found.st_size, found.st_mtime_ns, f"{found.st_ino}-{found.st_mtime_ns}")

    def stats(self, locations: Collection[str]) -> Mapping[str, Facts | None]:
        """See `Folders.stats`."""
        return {each: self.stat(each) for each in locations}

    def exists(self, location: str) -> bool:
        """See `Folders.exists`."""
        return self.stat(location) is not None

    def read(self, location: str, *, bytes_max: int | None = None) -> bytes:
        """See `Folders.read`."""
        with Path(local_path(location)).open("rb") as stream:
            return stream.read(-1 if bytes_max is None else bytes_max)

    def write(self, location: str, content: bytes) -> None:
        """See `Folders.write`."""
        path = Path(local_path(location))
        with _naming(path), _draft(path, content) as draft:
            draft.replace(path)
            durable.sync(str(path))

    def create(self, location: str, content: bytes) -> None:
        """See `Folders.create`. A link is made only where no name is."""
        path = Path(local_path(location))
        with _naming(path), _draft(path, content) as draft:
            with contextlib.suppress(FileExistsError):
                path.hardlink_to(draft)
            durable.sync(str(path))
        if path.read_bytes() != content:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))

    def move(self, source: str, target: str, *, renewed_at_s: float | None = None) -> None:
        """See `Folders.move`. A rename: the file is always whole, at one of the two places.

        Raises:
            FileNotFoundError: If there is no file at `source`.
            FileExistsError: If there is one at `target`.
            StorageError: If it cannot be moved.

        """
        here, there = Path(local_path(source)), Path(local_path(target))
        if os.path.lexists(there):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(there))
        try:
            there.parent.mkdir(parents=True, exist_ok=True)
            if renewed_at_s is not None:  # before the move: a kill in between must not age it
                os.utime(here, (renewed_at_s, renewed_at_s))
            here.rename(there)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise StorageError.of(str(error.filename or there), error) from error

    def delete(self, location: str) -> None:
        """See `Folders.delete`."""
        path = Path(local_path(location))
        with _naming(path):
            path.unlink(missing_ok=True)

    def sync(self, location: str) -> None:
        """See `Folders.sync`."""
        path = local_path(location)
        with _naming(Path(path)):
            durable.sync(path)

    def prune(self, folder: str) -> None:
        """See `Folders.prune`."""
        root = Path(local_path(folder))
        below = sorted((each for each in root.rglob("*") if each.is_dir()), reverse=True)
        for each in (*below, root):
            with contextlib.suppress(OSError):  # it is not empty, or has gone
                each.rmdir()

    def uploads(self, folder: str) -> Sequence[Upload]:
        """See `Folders.uploads`. A file that is being written is a file."""
        del folder
        return ()

    def abort(self, upload: Upload) -> None:
        """See `Folders.abort`."""


@contextlib.contextmanager
def _draft(path: Path, content: bytes) -> Generator[Path]:
    """Write content to a hidden file beside a path, durable; what is left of it is removed."""
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        durable.make_folder(str(path.parent))
        draft.write_bytes(content)
        durable.sync_content(str(draft))
        yield draft
    finally:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)


@contextlib.contextmanager
def _naming(path: Path) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError.of(str(error.filename or path), error) from error


def _kind(entry: os.DirEntry[str]) -> Kind:
    if entry.is_symlink():
        return Kind.LINK
    if entry.is_dir(follow_symlinks=False):
        return Kind.FOLDER
    return Kind.FILE if entry.is_file(follow_symlinks=False) else Kind.OTHER


def _readings(location: str) -> Iterator[str]:
    if not location.startswith("file:"):
        if "://" not in location:
            yield location
        return
    yield local_path(location)
    if "#" in location or "?" in location or "%" in location:
        plain = "/" + location.removeprefix("file:").lstrip("/")
        yield plain
        yield unquote(plain)
