"""What a pattern that matches no file may have been meant to be, by the files that there are."""

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path, PurePosixPath

_FILES_MAX = 1000  # a data folder may hold millions
_PATTERNS_MAX = 12


def patterns_there(folder: Path) -> tuple[str, ...]:
    """Return patterns that match the first 1,000 files of a folder, at most a dozen of them."""
    found = (str(path.parent / f"*{path.suffix}") for path in islice(_files(folder), _FILES_MAX))
    return tuple(islice(dict.fromkeys(found), _PATTERNS_MAX))


def _files(folder: Path) -> Iterator[PurePosixPath]:
    for at, folders, names in os.walk(folder):
        folders[:] = sorted(each for each in folders if each[0] not in "._")
        below = PurePosixPath(Path(at).relative_to(folder).as_posix())
        yield from (below / name for name in sorted(names) if name[0] not in "._")
