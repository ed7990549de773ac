"""Which form of `Folders` serves a location: the only place that knows the forms there are."""

from collections.abc import Callable, Mapping

from pyiceberg.io import PY_IO_IMPL, FileIO, load_file_io

from headrace.errors import UnsupportedReason, UnsupportedTableError
from headrace.servers import S3_FILE_IO
from headrace.storage.folders import Folders
from headrace.storage.local_folders import LocalFolders
from headrace.storage.locations import local_path
from headrace.storage.s3_client import SCHEMES as S3_SCHEMES
from headrace.storage.s3_folders import S3Folders

# by the scheme of a location; a form gets the table's FileIO for its credentials
FORMS: Mapping[str, Callable[[FileIO], Folders]] = {
    "": lambda _: LocalFolders(),
    "file": lambda _: LocalFolders(),
    **{scheme: lambda io: S3Folders(io.properties) for scheme in S3_SCHEMES},
}


def has_folders(location: str) -> bool:
    """Whether there is a form for the store of a location."""
    return _scheme(location) in FORMS


def is_patient(io: FileIO) -> bool:
    """Whether a FileIO asks a store again that does not answer, as `Folders` do."""
    return io.properties.get(PY_IO_IMPL) == S3_FILE_IO


def folders_of(location: str, io: FileIO, *, table: str) -> Folders:
    """Return the folders of the store where a table lies; `io` is that of the table.

    Raises:
        UnsupportedTableError: If there is no form for that store.

    """
    form = FORMS.get(_scheme(location))
    if form is None:
        detail = f"it lies at `{location}`, which is neither on a local disk nor on S3"
        reason = UnsupportedReason.OTHER_STORE
        raise UnsupportedTableError(table, detail, reason=reason, path=location)
    return form(io)


def folders_at(location: str, access: Mapping[str, str]) -> Folders:
    """Return the folders of the store of a lake's own documents; `access` are properties of a FileIO.

    Raises:
        UnsupportedTableError: If there is no form for that store.

    """
    return folders_of(location, load_file_io(dict(access), location), table=location)


def local_folders_of(location: str) -> Folders | None:
    """Return the folders of this host if a location is on one of its disks; None if it is not."""
    return LocalFolders() if local_path(location).startswith("/") else None


def local_folders() -> Folders:
    """Return the folders of this host, where the lake keeps its own documents."""
    return LocalFolders()


def _scheme(location: str) -> str:
    scheme, colon, _ = location.partition(":")
    return scheme.lower() if colon and "/" not in scheme else ""
