"""A FileIO over another one, of which a subclass changes a part."""

from pyiceberg.io import FileIO, InputFile, OutputFile
from typing_extensions import override


class PassingIO(FileIO):
    """Passes every call to the storage that it is over, whose properties it has."""

    def __init__(self, inner: FileIO) -> None:
        super().__init__(inner.properties)
        self.inner = inner

    @override
    def new_input(self, location: str) -> InputFile:
        return self.inner.new_input(location)

    @override
    def new_output(self, location: str) -> OutputFile:
        return self.inner.new_output(location)

    @override
    def delete(self, location: str | InputFile | OutputFile) -> None:
        self.inner.delete(location)
