"""Folders of an S3 store: parts of keys. A move copies, looks at the copy and deletes."""

import contextlib
import errno
import itertools
import os
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from headrace.errors import StorageError
from headrace.storage.folders import Entry, Facts, Kind, Upload
from headrace.storage.s3_client import COPY_BYTES_MAX, Key, S3Client

_LIST_FROM = 16  # as many looks take as long as one page of a listing
_OBJECTS_PER_PAGE = 1_000
_OTHERS_PER_FILE_MAX = 20
_LOOKS_AT_ONCE = 16


class S3Folders:
    """The folders of the buckets of one store; `properties` are those of a FileIO.

    Neither makes nor judges the empty objects by which some programs mark folders.
    """

    def __init__(
        self, properties: Mapping[str, str], *, copy_bytes_max: int = COPY_BYTES_MAX
    ) -> None:
        self._client, self._copy_bytes_max = S3Client.of(properties), copy_bytes_max

    def place(self, location: str) -> str | None:
        """See `Folders.place`."""
        key = Key.of(location)
        return None if key is None else Key(key.bucket, key.name.rstrip("/")).location

    def forms(self, location: str) -> Iterator[str]:
        """See `Folders.forms`. `s3a` and `s3n` are other names of the same store."""
        key = Key.of(location)
        if key is not None:
            yield key.location

    def list(self, folder: str) -> Sequence[Entry]:
        """See `Folders.list`. With facts, as the store tells them at no cost."""
        found: dict[str, Entry] = {}
        for page in self._client.pages(_key(folder)):
            for location, facts in page.files:
                found[location] = Entry(location, Kind.FILE, facts)
            for location in page.folders:
                # an object `a` and objects below `a/` may both be there
                found.setdefault(f"{location}/", Entry(location, Kind.FOLDER))
        return list(found.values())

    def stat(self, location: str) -> Facts | None:
        """See `Folders.stat`."""
        key = Key.of(location)
        found = None if key is None or not key.name else self._client.head(key)
        return None if found is None else found.facts

    def stats(self, locations: Collection[str]) -> Mapping[str, Facts | None]:
        """See `Folders.stats`. Many are found in a listing of the folder above all of them.

        A listing tells of a thousand objects in a request. It is left where it tells mostly of
        others, and what it did not tell of is looked at one by one.
        """
        found: dict[str, Facts | None] = {}
        if len(locations) >= _LIST_FROM:
            pages_max = 1 + _OTHERS_PER_FILE_MAX * len(locations) // _OBJECTS_PER_PAGE
            names = {key.location: each for each in locations if (key := Key.of(each)) is not None}
            above = os.path.commonprefix(list(names)).rpartition("/")[0]
            if (folder := Key.of(above)) is not None:
                for page in itertools.islice(self._client.pages(folder, deep=True), pages_max):
                    found |= {names[at]: facts for at, facts in page.files if at in names}
                    if len(found) == len(names):
                        break
        rest = [each for each in locations if each not in found]
        if len(rest) < 2:
            found |= {each: self.stat(each) for each in rest}
        else:
            with ThreadPoolExecutor(_LOOKS_AT_ONCE) as pool:
                found |= dict(zip(rest, pool.map(self.stat, rest), strict=True))
        return {each: found[each] for each in locations}

    def exists(self, location: str) -> bool:
        """See `Folders.exists`."""
        return self.stat(location) is not None

    def read(self, location: str, *, bytes_max: int | None = None) -> bytes:
        """See `Folders.read`."""
        return self._client.get(_key(location), bytes_max=bytes_max)

    def write(self, location: str, content: bytes) -> None:
        """See `Folders.write`. One put, which replaces whole objects and leaves no draft."""
        with _naming(location):
            self._client.put(_key(location), content)

    def create(self, location: str, content: bytes) -> None:
        """See `Folders.create`. The store decides which of several puts is the first."""
        with _naming(location):
            self._client.put_new(_key(location), content)

    def move(self, source: str, target: str, *, renewed_at_s: float | None = None) -> None:
        """See `Folders.move`. The age counts from the copy.

        The source is deleted once a copy of its size is there. Objects above 5 GiB, which no
        server copies at once, are copied in parts.
        """
        del renewed_at_s
        here, there = _key(source), _key(target)
        with _naming(target):
            found = self._client.head(here)
            if found is None:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), source)
            if self._client.head(there) is not None:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target)
            self._client.copy(here, there, found, bytes_max=self._copy_bytes_max)
            copy = self._client.head(there)
            if copy is None or copy.facts.bytes != found.facts.bytes:
                msg = f"its copy `{target}` is not whole"
                raise OSError(msg)
            self._client.delete(here)

    def delete(self, location: str) -> None:
        """See `Folders.delete`."""
        with _naming(location):
            self._client.delete(_key(location))

    def sync(self, location: str) -> None:
        """See `Folders.sync`. An object is durable once its put was answered."""

    def prune(self, folder: str) -> None:
        """See `Folders.prune`."""

    def uploads(self, folder: str) -> Sequence[Upload]:
        """See `Folders.uploads`."""
        return [Upload(*each) for each in self._client.uploads(_key(folder))]

    def abort(self, upload: Upload) -> None:
        """See `Folders.abort`."""
        with _naming(upload.location):
            self._client.abort(_key(upload.location), upload.upload_id)


def _key(location: str) -> Key:
    key = Key.of(location)
    if key is None:
        msg = f"`{location}` is not a location of S3"
        raise ValueError(msg)
    return Key(key.bucket, key.name.rstrip("/"))


@contextlib.contextmanager
def _naming(location: str) -> Generator[None]:
    """Name what the store refuses; what is said of one file stays as it is."""
    try:
        yield
    except (FileNotFoundError, FileExistsError):
        raise
    except OSError as error:
        raise StorageError.of(location, error) from error
