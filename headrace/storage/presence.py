"""Whether a location holds any file at all."""

from pathlib import Path
from urllib.parse import urlsplit

from pyarrow.fs import FileSelector, FileSystem, FileType
from pyiceberg.io import FileIO
from pyiceberg.io.pyarrow import PyArrowFileIO

from headrace.storage.locations import local_path


def has_files(location: str, io: FileIO) -> bool:
    """Whether there is a file below a folder, or an object below a prefix; `io` reaches it.

    Raises:
        OSError: If the store does not answer.

    """
    path = local_path(location)
    if path.startswith("/"):
        return any(each.is_file() for each in Path(path).rglob("*"))
    if not isinstance(io, PyArrowFileIO):
        msg = f"`{location}` cannot be listed through {type(io).__name__}"
        raise OSError(msg)
    parts = urlsplit(location)
    store: FileSystem = io.fs_by_scheme(parts.scheme, parts.netloc)
    below = FileSelector(f"{parts.netloc}{parts.path}", recursive=True, allow_not_found=True)
    return any(each.type == FileType.File for each in store.get_file_info(below))
