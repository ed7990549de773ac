"""What lies in a table's own folders: the files clean-up may judge, and what it must leave alone."""

import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from headrace.errors import CleanupRefusedError
from headrace.iceberg import standard_properties as standard
from headrace.storage.locations import local_path

TRASH = ".trash"
METADATA_SUFFIXES = (".metadata.json", ".metadata.json.gz")
_DATA_SUFFIXES = (".parquet", ".orc", ".avro")
_STATISTICS_SUFFIXES = (".puffin", ".stats")
_OTHER_FORMATS = frozenset({"_delta_log", ".hoodie"})
# a table may keep its files elsewhere; below its location these folders are its own too
_DATA_FOLDERS = (standard.DATA_PATH, standard.OBJECT_STORAGE_PATH, standard.FOLDER_STORAGE_PATH)
_METADATA_FOLDERS = (standard.METADATA_PATH,)


@dataclass(kw_only=True)
class Listing:
    """The files of a table's own folders that nothing is known to need yet, by real folder.

    Names only: a table of a million files takes some 150 MB here, and a file's facts are looked up
    once it is suspected. `foreign_files` counts what is left alone, a whole folder as one.
    """

    root: Path
    data_folders: frozenset[str]
    metadata_folders: frozenset[str]
    folders: dict[str, set[str]] = field(default_factory=dict)
    metadata_files: list[Path] = field(default_factory=list)
    foreign_files: int = 0
    foreign_bytes: int = 0
    _real: dict[str, str] = field(default_factory=dict)

    def clear(self, location: str) -> bool:
        """Take a file that is needed off the list; False if it was not on it (any more)."""
        found = False
        for path in _local_forms(location):
            folder, _, name = path.rpartition("/")
            names = self.folders.get(self._real_of(folder))
            if names is not None and name in names:
                names.discard(name)
                found = True
        return found

    def holds(self, location: str) -> bool:
        """Whether a location lies in the folders this listing covers."""
        for path in _local_forms(location):
            folder = self._real_of(path.rpartition("/")[0])
            if any(_is_within(folder, own) for own in self.data_folders | self.metadata_folders):
                return True
        return False

    def __iter__(self) -> Iterator[str]:
        """Yield the path of every file that is still on the list."""
        for folder, names in self.folders.items():
            for name in names:
                yield f"{folder}/{name}"

    def kind(self, path: str) -> str:
        """Say what a file is, by where it lies and what it is called."""
        folder, _, name = path.rpartition("/")
        if name.endswith(METADATA_SUFFIXES):
            return "metadata"
        if name.endswith(_STATISTICS_SUFFIXES):
            return "statistics"
        in_metadata = any(_is_within(folder, own) for own in self.metadata_folders)
        if name.endswith(".avro") and in_metadata:
            return "manifest list" if name.startswith("snap-") else "manifest"
        return "data"

    def _real_of(self, folder: str) -> str:
        # one file may be named through several paths: by a link, or with a slash too many
        real = self._real.get(folder)
        if real is None:
            real = self._real[folder] = str(Path(folder).resolve())
        return real


def list_files(
    root: Path,
    *,
    table: str,
    properties: Mapping[str, str],
    others: Collection[Path],
    only: Collection[str] | None = None,
) -> Listing:
    """List the files below a table's own folders that it, or its like, may have written.

    Left alone: folders of other tables (`others`, and any folder that looks like one), hidden
    folders and files, links, and names that no data or metadata file has. A file that a link leads
    to is needed. A folder outside of the location, where other tables may keep theirs, is left alone
    too; of a metadata folder there, metadata files are seen but not judged. `only` keeps all but these
    paths, relative to `root`, off the list.

    Raises:
        CleanupRefusedError: If a table of another format shares the folder, or it cannot be read.

    """
    data, data_elsewhere = _folders(root, properties, _DATA_FOLDERS)
    metadata, metadata_elsewhere = _folders(root, properties, _METADATA_FOLDERS)
    listing = Listing(
        root=root,
        data_folders=data | {str(root / "data")},
        metadata_folders=metadata | {str(root / "metadata")},
        foreign_files=len(data_elsewhere | metadata_elsewhere),
    )
    data, metadata = listing.data_folders, listing.metadata_folders
    wanted = None if only is None else frozenset(f"{root}/{path}" for path in only)
    try:
        # a table that keeps all its files elsewhere has no folder
        found = {entry.name for entry in os.scandir(root)} if root.is_dir() else set()
        if found & _OTHER_FORMATS:
            named = min(found & _OTHER_FORMATS)
            detail = f"`{root}` is a table of another format too (`{named}`), which needs its files"
            raise CleanupRefusedError(table, detail)
        links: list[str] = []
        roots = [own for own in data | metadata if not _has_parent(own, data | metadata)]
        for own in sorted(roots):
            links += _scan(listing, own, others=frozenset(map(str, others)), wanted=wanted)
        for folder in metadata_elsewhere:
            listing.metadata_files += _metadata_files(Path(folder))
    except OSError as error:
        raise CleanupRefusedError(table, f"its folder cannot be read: {error}") from error
    for target in links:
        listing.clear(target)
        for folder in [f for f in listing.folders if _is_within(f, target)]:
            del listing.folders[folder]
    return listing


def _folders(
    root: Path, properties: Mapping[str, str], names: Collection[str]
) -> tuple[frozenset[str], frozenset[str]]:
    """Part the local folders that properties name into those below the location and others."""
    said = [local_path(properties[name]) for name in names if properties.get(name)]
    paths = [Path(path).resolve() for path in said if path.startswith("/")]
    own = frozenset(str(path) for path in paths if root in path.parents)
    return own, frozenset(map(str, paths)) - own


def _metadata_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return [path for path in folder.iterdir() if path.name.endswith(METADATA_SUFFIXES)]


def _scan(
    listing: Listing, folder: str, *, others: frozenset[str], wanted: frozenset[str] | None
) -> list[str]:
    """List one own folder; return where the links in it lead to."""
    links: list[str] = []
    pending = [folder]
    while pending:
        current = pending.pop()
        try:
            entries = list(os.scandir(current))
        except FileNotFoundError:  # not made yet, or just removed
            continue
        if current in others or _is_table(current, entries, listing):
            listing.foreign_files += 1
            continue
        names = listing.folders.setdefault(current, set())
        for entry in entries:
            if entry.is_symlink():
                links.append(str(Path(entry.path).resolve()))
            if _is_judged(entry):
                if wanted is None or entry.path in wanted:
                    names.add(entry.name)
                if entry.name.endswith(METADATA_SUFFIXES):
                    listing.metadata_files.append(Path(entry.path))
            elif entry.is_dir(follow_symlinks=False) and not _is_hidden(entry.name):
                pending.append(entry.path)
            else:
                _leave(listing, entry)
    return links


def _leave(listing: Listing, entry: os.DirEntry[str]) -> None:
    listing.foreign_files += 1
    if entry.is_file(follow_symlinks=False):
        listing.foreign_bytes += entry.stat(follow_symlinks=False).st_size


def _is_table(folder: str, entries: Collection[os.DirEntry[str]], listing: Listing) -> bool:
    """Whether a folder is the root of some other table, of whatever catalog and format."""
    if folder in listing.data_folders | listing.metadata_folders:
        return False
    names = {entry.name for entry in entries}
    if names & _OTHER_FORMATS:
        return True
    metadata = Path(folder) / "metadata"
    return (
        "metadata" in names
        and metadata.is_dir()
        and any(name.name.endswith(METADATA_SUFFIXES) for name in metadata.iterdir())
    )


def _is_judged(entry: os.DirEntry[str]) -> bool:
    suffixes = (*_DATA_SUFFIXES, *_STATISTICS_SUFFIXES, *METADATA_SUFFIXES)
    return (
        entry.is_file(follow_symlinks=False)
        and entry.name.endswith(suffixes)
        and not entry.name.startswith((".", "_"))
    )


def _is_hidden(name: str) -> bool:
    # `_source=a` is a partition folder, whatever its column is called
    return name.startswith(".") or (name.startswith("_") and "=" not in name)


def _is_within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")


def _has_parent(folder: str, folders: Collection[str]) -> bool:
    return any(folder != other and _is_within(folder, other) for other in folders)


def _local_forms(location: str) -> Iterator[str]:
    """Yield the local paths a location may mean; engines differ on `#`, `?` and `%` in URLs."""
    # `%00` of a partition value stands for what no path can have
    return (path for path in _readings(location) if "\0" not in path)


def _readings(location: str) -> Iterator[str]:
    if not location.startswith("file:"):
        if "://" not in location:
            yield location
        return
    yield local_path(location)
    if "#" in location or "?" in location or "%" in location:
        plain = "/" + location.removeprefix("file:").lstrip("/")
        yield plain
        yield unquote(plain)
