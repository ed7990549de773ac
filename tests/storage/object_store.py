"""A store of objects in memory, as S3 is one: etags and last-modified, no renames, no links."""

import hashlib
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import cast

from pyiceberg.io import FileIO, InputFile, InputStream, OutputFile, OutputStream

from headrace.storage.folders import Entry, Facts, Kind, Upload

SCHEME = "mem"
_TICK_NS = 1_000_000_000  # object stores tell times of change in whole seconds


@dataclass(frozen=True, kw_only=True)
class _Object:
    content: bytes
    facts: Facts


_NEW = _Object(content=b"", facts=Facts(0, 0, ""))


@dataclass(kw_only=True)
class Bucket:
    """Objects by location; `clock_ns` dates what is written."""

    clock_ns: Callable[[], int] = time.time_ns
    objects: dict[str, _Object] = field(default_factory=dict)

    def put(self, location: str, content: bytes) -> None:
        etag = hashlib.md5(content, usedforsecurity=False).hexdigest()
        at_ns = self.clock_ns() // _TICK_NS * _TICK_NS
        facts = Facts(len(content), at_ns, f"{etag}-{at_ns}")
        self.objects[location] = _Object(content=content, facts=facts)


class MemoryFolders:
    """The `Folders` of one bucket: folders are parts of names, and a move copies and deletes."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def place(self, location: str) -> str | None:
        return location.rstrip("/") if location.startswith(f"{SCHEME}://") else None

    def forms(self, location: str) -> Iterator[str]:
        return iter([location] if location.startswith(f"{SCHEME}://") else [])

    def list(self, folder: str) -> Sequence[Entry]:
        prefix = f"{folder.rstrip('/')}/"
        found: dict[str, Entry] = {}
        for location, each in self._bucket.objects.items():
            if location.startswith(prefix):
                name, below, _ = location.removeprefix(prefix).partition("/")
                here = prefix + name
                kind = Kind.FOLDER if below else Kind.FILE
                found[here] = Entry(here, kind, None if below else each.facts)
        return list(found.values())

    def stat(self, location: str) -> Facts | None:
        found = self._bucket.objects.get(location)
        return None if found is None else found.facts

    def stats(self, locations: Collection[str]) -> Mapping[str, Facts | None]:
        return {each: self.stat(each) for each in locations}

    def exists(self, location: str) -> bool:
        return location in self._bucket.objects

    def read(self, location: str, *, bytes_max: int | None = None) -> bytes:
        if location not in self._bucket.objects:
            raise FileNotFoundError(location)
        return self._bucket.objects[location].content[:bytes_max]

    def write(self, location: str, content: bytes) -> None:
        self._bucket.put(location, content)

    def create(self, location: str, content: bytes) -> None:
        if self._bucket.objects.setdefault(location, _NEW) is not _NEW:
            if self.read(location) != content:
                raise FileExistsError(location)
            return
        self.write(location, content)

    def move(self, source: str, target: str, *, renewed_at_s: float | None = None) -> None:
        del renewed_at_s  # a copy is as young as it is
        if target in self._bucket.objects:
            raise FileExistsError(target)
        self.write(target, self.read(source))
        self.delete(source)

    def delete(self, location: str) -> None:
        self._bucket.objects.pop(location, None)

    def sync(self, location: str) -> None:
        pass

    def prune(self, folder: str) -> None:
        pass

    def uploads(self, folder: str) -> Sequence[Upload]:
        return ()

    def abort(self, upload: Upload) -> None:
        pass


class MemoryIO(FileIO):
    """The FileIO of one bucket."""

    def __init__(self, bucket: Bucket) -> None:
        super().__init__({})
        self.bucket = bucket

    def new_input(self, location: str) -> InputFile:
        return _Input(location, self.bucket)

    def new_output(self, location: str) -> OutputFile:
        return _Output(location, self.bucket)

    def delete(self, location: str | InputFile | OutputFile) -> None:
        where = location if isinstance(location, str) else location.location
        if where not in self.bucket.objects:
            raise FileNotFoundError(where)
        del self.bucket.objects[where]


class _Input(InputFile):
    def __init__(self, location: str, bucket: Bucket) -> None:
        super().__init__(location)
        self._bucket = bucket

    def __len__(self) -> int:
        return len(self._bucket.objects[self.location].content)

    def exists(self) -> bool:
        return self.location in self._bucket.objects

    def open(self, seekable: bool = True) -> InputStream:
        content = MemoryFolders(self._bucket).read(self.location)
        return cast("InputStream", BytesIO(content))


class _Output(OutputFile):
    def __init__(self, location: str, bucket: Bucket) -> None:
        super().__init__(location)
        self._bucket = bucket

    def __len__(self) -> int:
        return len(self._bucket.objects[self.location].content)

    def exists(self) -> bool:
        return self.location in self._bucket.objects

    def to_input_file(self) -> InputFile:
        return _Input(self.location, self._bucket)

    def create(self, overwrite: bool = False) -> OutputStream:
        if self.exists() and not overwrite:
            raise FileExistsError(self.location)
        return cast("OutputStream", _Upload(self.location, self._bucket))


class _Upload(BytesIO):
    """An upload, which is seen once it is complete."""

    def __init__(self, location: str, bucket: Bucket) -> None:
        super().__init__()
        self._location, self._bucket = location, bucket

    def close(self) -> None:
        if not self.closed:
            self._bucket.put(self._location, self.getvalue())
        super().close()
