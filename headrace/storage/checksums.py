"""Checksums in the names of metadata files: what refers to a file says what must be in it.

Parquet pages carry their own checksum; Avro and JSON files do not, and a bit that flips in them
changes a bound, a path or a property without any error. The format: `docs/formats/checksums.md`.
"""

import io
import re
import zlib
from typing import cast

from pyiceberg.io import FileIO, InputFile, InputStream, OutputFile, OutputStream
from typing_extensions import override

from headrace.errors import CorruptFileError
from headrace.storage.passing_io import PassingIO

_SUFFIXES = (".metadata.json", ".avro")
_NAMED = re.compile(r"\.crc([0-9a-f]{8})(?:\.metadata\.json|\.avro)$")


def named(location: str, content: bytes) -> str:
    """Put the checksum of a metadata file's content into its name.

    Raises:
        ValueError: If it is neither a manifest, a manifest list nor a table's metadata file.

    """
    suffix = next((each for each in _SUFFIXES if location.endswith(each)), None)
    if suffix is None:
        msg = f"`{location}` is not a metadata file"
        raise ValueError(msg)
    return f"{location.removesuffix(suffix)}.crc{zlib.crc32(content):08x}{suffix}"


def checksum_of(location: str) -> int | None:
    """Return the CRC-32 that a file's name promises; None for files of other programs."""
    found = _NAMED.search(location)
    return None if found is None else int(found[1], 16)


def checking(source: FileIO) -> FileIO:
    """Return the same storage, whose reads refuse what does not match its name.

    Reads raise `CorruptFileError`. Files of other programs have no checksum and pass unchecked.
    """
    return _CheckingIO(source)


class NamedOutput(OutputFile):
    """Collects a metadata file in memory, since its name is known once its content is."""

    def __init__(self) -> None:
        super().__init__("")
        self.content = b""

    def place(self, location: str) -> str:
        """Give it its place, with the checksum in the name; return that."""
        self._location = named(location, self.content)
        return self._location

    @override
    def __len__(self) -> int:
        return len(self.content)

    @override
    def exists(self) -> bool:
        return False

    @override
    def to_input_file(self) -> InputFile:
        raise NotImplementedError

    @override
    def create(self, overwrite: bool = False) -> OutputStream:
        return cast("OutputStream", _Collecting(self))  # its argument names differ


class _Collecting(io.BytesIO):
    def __init__(self, output: NamedOutput) -> None:
        super().__init__()
        self._output = output

    @override
    def close(self) -> None:
        if not self.closed:
            self._output.content = self.getvalue()
        super().close()


class _CheckedInput(InputFile):
    def __init__(self, inner: InputFile, checksum: int) -> None:
        super().__init__(inner.location)
        self._inner, self._checksum = inner, checksum

    @override
    def __len__(self) -> int:
        return len(self._inner)

    @override
    def exists(self) -> bool:
        return self._inner.exists()

    @override
    def open(self, seekable: bool = True) -> InputStream:
        with self._inner.open(seekable=False) as stream:
            content = stream.read()
        found = zlib.crc32(content)
        if found != self._checksum:
            detail = f"its checksum is {found:08x}, its name says {self._checksum:08x}"
            raise CorruptFileError(self.location, detail)
        return cast("InputStream", io.BytesIO(content))


class _CheckingIO(PassingIO):
    @override
    def new_input(self, location: str) -> InputFile:
        found, checksum = self.inner.new_input(location), checksum_of(location)
        return found if checksum is None else _CheckedInput(found, checksum)
