"""Whether a location holds any file at all."""

from pyiceberg.io import FileIO

from headrace.errors import StorageError
from headrace.storage.folders import Kind
from headrace.storage.open import folders_of


def has_files(location: str, io: FileIO) -> bool:
    """Whether there is a file below a folder, or an object below a prefix; `io` reaches it.

    Looks no further than the first.

    Raises:
        StorageError: If the folder cannot be read, or the store does not answer.
        UnsupportedTableError: If it is in a store that headrace does not know.

    """
    store = folders_of(location, io, table=location)
    pending = [location]
    try:
        while pending:
            found = store.list(pending.pop())
            if any(each.kind is Kind.FILE for each in found):
                return True
            pending += [each.location for each in found if each.kind is Kind.FOLDER]
    except OSError as error:
        raise StorageError.of(location, error) from error
    return False
