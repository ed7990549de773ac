"""Manifests and manifest lists that this process wrote lately, for commits that read them again.

A commit begins with the manifest list of the one before it and merges small manifests: mostly what
this process wrote itself. Such a file never changes once it is written, so its bytes are kept, some
megabytes in all. Readers of rows do not look here: they read, and check, what the store has.
"""

import io
import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import cast

from pyiceberg.io import FileIO, InputFile, InputStream
from typing_extensions import override

from headrace.storage.passing_io import PassingIO

BYTES_MAX = 16 * 1024 * 1024
_ONE_MAX = BYTES_MAX // 4


class RecentWrites:
    """The newest of what one lake handle wrote, by location; thread-safe."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def keep(self, location: str, content: bytes) -> None:
        """Keep what was written, durably, at a location that has no other content ever."""
        if len(content) > _ONE_MAX:
            return
        with self._lock:
            self._bytes += len(content) - len(self._kept.pop(location, b""))
            self._kept[location] = content
            while self._bytes > BYTES_MAX:
                self._bytes -= len(self._kept.popitem(last=False)[1])

    def find(self, location: str) -> bytes | None:
        """Return what was written there, if it is still kept."""
        with self._lock:
            found = self._kept.get(location)
            if found is not None:
                self._kept.move_to_end(location)
            return found

    def over(self, store: FileIO, *, pending: Mapping[str, bytes] | None = None) -> FileIO:
        """Return the same storage, whose reads take what is kept, or `pending`, from memory."""
        return _RecentIO(store, self, {} if pending is None else pending)


class _RecentIO(PassingIO):
    def __init__(self, inner: FileIO, recent: RecentWrites, pending: Mapping[str, bytes]) -> None:
        super().__init__(inner)
        self._recent, self._pending = recent, pending

    @override
    def new_input(self, location: str) -> InputFile:
        content = self._pending.get(location) or self._recent.find(location)
        return self.inner.new_input(location) if content is None else _Kept(location, content)


class _Kept(InputFile):
    def __init__(self, location: str, content: bytes) -> None:
        super().__init__(location)
        self._content = content

    @override
    def __len__(self) -> int:
        return len(self._content)

    @override
    def exists(self) -> bool:
        return True

    @override
    def open(self, seekable: bool = True) -> InputStream:
        return cast("InputStream", io.BytesIO(self._content))
