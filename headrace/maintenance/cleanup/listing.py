"""The files in a table's own folders that clean-up may judge, and what it must leave alone."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from headrace.errors import CleanupReason, CleanupRefusedError
from headrace.iceberg import standard_properties as standard
from headrace.storage.folders import Entry, Facts, Folders, Kind

TRASH = ".trash"
METADATA_SUFFIXES = (".metadata.json", ".metadata.json.gz")
_DATA_SUFFIXES = (".parquet", ".orc", ".avro")
_STATISTICS_SUFFIXES = (".puffin", ".stats")
_TRINO_FOLDER, _TRINO_PREFIX = "trino-tmp-files", "sorting-file-writer-"
_OTHER_FORMATS = frozenset({"_delta_log", ".hoodie"})
# a table may keep its files elsewhere; below its location these folders are its own too
_DATA_FOLDERS = (standard.DATA_PATH, standard.OBJECT_STORAGE_PATH, standard.FOLDER_STORAGE_PATH)
_METADATA_FOLDERS = (standard.METADATA_PATH,)


@dataclass(kw_only=True)
class Listing:
    """The files of a table's own folders that are not known to be needed, by folder and name.

    A table of a million files takes some 150 MB here. The facts of a file are kept if the store
    lists them; where it does not, they are looked up once the file is suspected. `foreign_files`
    counts what is left alone, a whole folder as one. `root` is the place of the table in `store`.
    """

    store: Folders
    root: str
    data_folders: frozenset[str]
    metadata_folders: frozenset[str]
    folders: dict[str, dict[str, Facts | None]] = field(default_factory=dict)
    metadata_files: list[str] = field(default_factory=list)
    foreign_files: int = 0
    foreign_bytes: int = 0
    _real: dict[str, str] = field(default_factory=dict)

    def clear(self, location: str) -> bool:
        """Remove a file that is needed from the list; False if it is not on the list."""
        found = False
        for path in self.store.forms(location):
            folder, _, name = path.rpartition("/")
            names = self.folders.get(self._real_of(folder))
            if names is not None and name in names:
                del names[name]
                found = True
        return found

    def holds(self, location: str) -> bool:
        """Whether a location lies in the folders this listing covers."""
        for path in self.store.forms(location):
            folder = self._real_of(path.rpartition("/")[0])
            if any(is_within(folder, own) for own in self.data_folders | self.metadata_folders):
                return True
        return False

    def __iter__(self) -> Iterator[str]:
        """Yield the path of every file that is still on the list."""
        for folder, names in self.folders.items():
            for name in names:
                yield f"{folder}/{name}"

    def facts(self, path: str) -> Facts | None:
        """Look at a file of the list; None if it is not there any more.

        Raises:
            OSError: If the store does not answer or refuses.

        """
        folder, _, name = path.rpartition("/")
        return self.folders[folder][name] or self.store.stat(path)

    def kind(self, path: str) -> str:
        """Name the kind of a file, by its folder and its name."""
        folder, _, name = path.rpartition("/")
        if name.endswith(METADATA_SUFFIXES):
            return "metadata"
        if name.endswith(_STATISTICS_SUFFIXES):
            return "statistics"
        if _is_temporary(path):
            return "temporary"
        in_metadata = any(is_within(folder, own) for own in self.metadata_folders)
        if name.endswith(".avro") and in_metadata:
            return "manifest list" if name.startswith("snap-") else "manifest"
        return "data"

    def _real_of(self, folder: str) -> str:
        # one file may be named through several paths: by a link, or with a slash too many
        real = self._real.get(folder)
        if real is None:
            real = self._real[folder] = self.store.place(folder) or folder
        return real


def list_files(
    store: Folders,
    *,
    root: str,
    table: str,
    properties: Mapping[str, str],
    others: Collection[str],
    only: Collection[str] | None = None,
) -> Listing:
    """List the files below a table's own folders that a writer of the table may have written.

    Left alone: folders of other tables (`others`, and any folder that looks like one), hidden
    folders and files, links, and names that no data or metadata file has. The target of a link is
    needed. A folder outside of the location, where other tables may keep their files, is left alone
    too; metadata files in such a metadata folder are read but not judged. With `only`, just these
    paths, relative to `root`, are listed.

    Raises:
        CleanupRefusedError: If a table of another format shares the folder, or it cannot be read.

    """
    data, data_elsewhere = _folders(store, root, properties, _DATA_FOLDERS)
    metadata, metadata_elsewhere = _folders(store, root, properties, _METADATA_FOLDERS)
    listing = Listing(
        store=store,
        root=root,
        data_folders=data | {f"{root}/data"},
        metadata_folders=metadata | {f"{root}/metadata"},
        foreign_files=len(data_elsewhere | metadata_elsewhere),
    )
    data, metadata = listing.data_folders, listing.metadata_folders
    wanted = None if only is None else frozenset(f"{root}/{path}" for path in only)
    try:
        # a table that keeps all its files elsewhere has no folder
        found = {entry.name for entry in store.list(root)}
        if found & _OTHER_FORMATS:
            named = min(found & _OTHER_FORMATS)
            detail = f"`{root}` is a table of another format too (`{named}`), which needs its files"
            reason, path = CleanupReason.OTHER_FORMAT, f"{root}/{named}"
            raise CleanupRefusedError(table, detail, reason=reason, path=path)
        links: list[str] = []
        roots = [own for own in data | metadata if not _has_parent(own, data | metadata)]
        for own in sorted(roots):
            links += _scan(listing, own, others=frozenset(others), wanted=wanted)
        for folder in metadata_elsewhere:
            listing.metadata_files += _metadata_files(store.list(folder))
    except OSError as error:
        detail, reason = f"its folder cannot be read: {error}", CleanupReason.FOLDER_UNREADABLE
        raise CleanupRefusedError(table, detail, reason=reason, path=root) from error
    for target in links:
        listing.clear(target)
        for folder in [f for f in listing.folders if is_within(f, target)]:
            del listing.folders[folder]
    return listing


def _folders(
    store: Folders, root: str, properties: Mapping[str, str], names: Collection[str]
) -> tuple[frozenset[str], frozenset[str]]:
    """Part the folders of the store that properties name: those below the location, and others."""
    said = [store.place(properties[name]) for name in names if properties.get(name)]
    places = frozenset(place for place in said if place is not None)
    own = frozenset(place for place in places if place != root and is_within(place, root))
    return own, places - own


def _metadata_files(entries: Collection[Entry]) -> list[str]:
    return [each.location for each in entries if each.name.endswith(METADATA_SUFFIXES)]


def _scan(
    listing: Listing, folder: str, *, others: frozenset[str], wanted: frozenset[str] | None
) -> list[str]:
    """List one own folder; return where the links in it lead to."""
    links: list[str] = []
    pending = [folder]
    while pending:
        current = pending.pop()
        entries = listing.store.list(current)
        if current in others or _is_table(current, entries, listing):
            listing.foreign_files += 1
            continue
        names = listing.folders.setdefault(current, {})
        for entry in entries:
            if entry.kind is Kind.LINK:
                links.append(listing.store.place(entry.location) or entry.location)
            if _is_judged(entry):
                if wanted is None or entry.location in wanted:
                    names[entry.name] = entry.facts
                if entry.name.endswith(METADATA_SUFFIXES):
                    listing.metadata_files.append(entry.location)
            elif entry.kind is Kind.FOLDER and not _is_hidden(entry.name):
                pending.append(entry.location)
            else:
                _leave(listing, entry)
    return links


def _leave(listing: Listing, entry: Entry) -> None:
    listing.foreign_files += 1
    if entry.kind is Kind.FILE:
        facts = entry.facts or listing.store.stat(entry.location)
        listing.foreign_bytes += facts.bytes if facts else 0


def _is_table(folder: str, entries: Collection[Entry], listing: Listing) -> bool:
    """Whether a folder is the root of some other table, of whatever catalog and format."""
    if folder in listing.data_folders | listing.metadata_folders:
        return False
    names = {entry.name for entry in entries}
    if names & _OTHER_FORMATS:
        return True
    return "metadata" in names and bool(_metadata_files(listing.store.list(f"{folder}/metadata")))


def _is_judged(entry: Entry) -> bool:
    suffixes = (*_DATA_SUFFIXES, *_STATISTICS_SUFFIXES, *METADATA_SUFFIXES)
    is_named = entry.name.endswith(suffixes) and not entry.name.startswith((".", "_"))
    return entry.kind is Kind.FILE and (is_named or _is_temporary(entry.location))


def _is_temporary(location: str) -> bool:
    """Whether Trino's sorted writes buffered rows in this file; a killed insert leaves it there."""
    *_, folder, name = ("", *location.rsplit("/", 2))
    return folder == _TRINO_FOLDER and name.startswith(_TRINO_PREFIX)


def _is_hidden(name: str) -> bool:
    # `_source=a` is a partition folder, whatever its column is called
    return name.startswith(".") or (name.startswith("_") and "=" not in name)


def is_within(path: str, folder: str) -> bool:
    """Whether a place is a folder or lies below it. Pure."""
    return path == folder or path.startswith(f"{folder}/")


def _has_parent(folder: str, folders: Collection[str]) -> bool:
    return any(folder != other and is_within(folder, other) for other in folders)
