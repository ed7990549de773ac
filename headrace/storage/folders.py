"""What a store of files must do for clean-up and for small documents: list, move, delete, replace."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol


class Kind(Enum):
    """What an entry of a folder is. Stores of objects have files and folders only."""

    FILE = "file"
    FOLDER = "folder"
    LINK = "link"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Facts:
    """What a store says of one file.

    `token` changes whenever the file is replaced or written to: two looks with one token saw the
    same content. `modified_ns` counts nanoseconds since 1970 by the clock of the store.
    """

    bytes: int
    modified_ns: int
    token: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a folder; `facts` are None where a listing does not tell them: ask `stat`."""

    location: str
    kind: Kind
    facts: Facts | None = None

    @property
    def name(self) -> str:
        """The last part of its location."""
        return self.location.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that was begun and not completed: no reader sees it, and it takes room."""

    location: str
    upload_id: str
    begun_ns: int


class Folders(Protocol):
    """The folders of one store. Parts of a location are separated by `/`.

    Methods take any location that the store understands (`forms`), and return locations as `place`
    has them. What writes is durable when it returns, with the exception that `move` states. Callers
    that change the same folder take turns by a lock of their own.
    """

    def place(self, location: str) -> str | None:
        """Return the one name of a place that may have several; None if it is in another store.

        Links are followed. The place need not exist.
        """
        ...

    def forms(self, location: str) -> Iterator[str]:
        """Yield what a location may mean here, as engines spell the same place in several ways."""
        ...

    def list(self, folder: str) -> Sequence[Entry]:
        """List one level of a folder; nothing if it does not exist.

        Raises:
            OSError: If it cannot be read.

        """
        ...

    def stat(self, location: str) -> Facts | None:
        """Look at one file, through links; None if no file is there.

        Raises:
            OSError: If the store does not answer or refuses.

        """
        ...

    def stats(self, locations: Collection[str]) -> Mapping[str, Facts | None]:
        """Look at many files, as `stat` does at one; in as few requests as the store allows.

        Raises:
            OSError: If the store does not answer or refuses.

        """
        ...

    def exists(self, location: str) -> bool:
        """Whether a file is there. Raises as `stat` does."""
        ...

    def read(self, location: str, *, bytes_max: int | None = None) -> bytes:
        """Read a small file, or its first `bytes_max` bytes.

        Raises:
            FileNotFoundError: If it is not there.
            OSError: If it cannot be read.

        """
        ...

    def write(self, location: str, content: bytes) -> None:
        """Write or replace a small file: readers find the old content or the new one, whole.

        Folders above are made. A kill may leave a draft beside it, named `.NAME.` and more.

        Raises:
            StorageError: If it cannot be written; what was there before is there still.

        """
        ...

    def create(self, location: str, content: bytes) -> None:
        """Write a small file like `write`, but only where none is.

        Of several that do so at once, one succeeds; the others find a file. One that has this very
        content is no error, so that what may have been done before can be done again.

        Raises:
            FileExistsError: If a file with other content is there.
            StorageError: If it cannot be written.

        """
        ...

    def move(self, source: str, target: str, *, renewed_at_s: float | None = None) -> None:
        """Move a file to a free place; folders above are made.

        The content is never lost: after a crash it is at one of the two places, or at both where
        the store can only copy and delete. With `renewed_at_s` (seconds since 1970) its age counts
        from then on, or from the move where the store sets the time itself. The move itself may
        not survive a power cut until `sync` of the target.

        Raises:
            FileNotFoundError: If the source is not there.
            FileExistsError: If the target is taken; nothing was moved.
            StorageError: If it cannot be moved; it is at its old place.

        """
        ...

    def delete(self, location: str) -> None:
        """Delete a file; one that is not there is no error.

        Raises:
            StorageError: If it cannot be deleted.

        """
        ...

    def sync(self, location: str) -> None:
        """Let a file, its name and the folders above it survive a power cut.

        Raises:
            StorageError: If the store cannot promise that.

        """
        ...

    def prune(self, folder: str) -> None:
        """Remove a folder and those below it, where no file is in them; others stay.

        Does nothing in a store where folders are only parts of names.
        """
        ...

    def uploads(self, folder: str) -> Sequence[Upload]:
        """List the unfinished uploads at any depth below a folder; none in a store without such.

        Raises:
            OSError: If they cannot be listed.

        """
        ...

    def abort(self, upload: Upload) -> None:
        """Free what an unfinished upload holds; one that has ended is no error.

        Raises:
            StorageError: If it cannot be given up.

        """
        ...
