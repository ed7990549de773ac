"""Which files are still needed: all that a table of the catalog, or a reader of one, can reach."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pyiceberg.io import FileIO

from headrace.errors import CleanupReason, CleanupRefusedError, CorruptFileError
from headrace.iceberg.manifest_paths import Listed, files_in, manifests_in
from headrace.maintenance.cleanup.known_tables import KnownTable
from headrace.maintenance.cleanup.listing import Listing
from headrace.maintenance.cleanup.metadata_files import Lineage, read_metadata, sighted


@dataclass(kw_only=True)
class Walk:
    """Removes the files that can be reached from a listing; reads every manifest and list once.

    `read` may hold what an earlier walk has read, so that a second one reads only what is new.
    `expects_all` makes a file that is named but missing an error: with a damaged manifest, or a path
    spelled differently from the listing, needed files would otherwise look like orphans.
    """

    table: str
    listing: Listing
    io: FileIO  # reads metadata files in the listing that belong to no known table
    expects_all: bool = True
    read: set[str] = field(default_factory=set)
    files: int = 0
    bytes: int = 0

    def mark(self, location: str, *, bytes_known: int | None = None) -> bool:
        """Note that a file is needed; False if it is not on the list."""
        found = self.listing.clear(location)
        if found:
            self.files += 1
            self.bytes += self._size(location) if bytes_known is None else bytes_known
        return found

    def follow(self, io: FileIO, location: str, *, is_current: bool) -> Mapping[str, Any]:
        """Mark all that one metadata file names, in all its snapshots; return its content.

        Snapshots of a metadata file that is no longer current may have expired: files that they
        named and that are gone are skipped.

        Raises:
            CorruptFileError: If a file cannot be read, or the current metadata names a manifest
                that is gone.
            CleanupRefusedError: See `expects_all`.

        """
        content = read_metadata(io, location)
        for key in ("statistics", "partition-statistics"):
            for each in content.get(key) or ():
                self.mark(each["statistics-path"])
        for snapshot in content.get("snapshots") or ():
            try:
                self._follow_snapshot(io, snapshot, is_current=is_current)
            except FileNotFoundError as error:
                if is_current:
                    detail = f"it names a file that is gone: {error}"
                    raise CorruptFileError(location, detail) from error
        return content

    def _follow_snapshot(
        self, io: FileIO, snapshot: Mapping[str, Any], *, is_current: bool
    ) -> None:
        for path in snapshot.get("manifests") or ():  # format version 1 may do without a list
            self._follow_manifest(io, Listed(path=path, live_files=None), is_current=is_current)
        location = snapshot.get("manifest-list")
        if location is None:
            return
        self.mark(location)
        if location in self.read:
            return
        manifests = list(manifests_in(io, location))
        total = (snapshot.get("summary") or {}).get("total-data-files", "0")
        if not manifests and total != "0":
            raise CorruptFileError(location, f"it is empty, its snapshot has {total} data files")
        for manifest in manifests:
            self._follow_manifest(io, manifest, is_current=is_current)
        self.read.add(location)

    def _follow_manifest(self, io: FileIO, manifest: Listed, *, is_current: bool) -> None:
        self.mark(manifest.path)
        if manifest.path in self.read:
            return
        for file in files_in(io, manifest):
            found = self.mark(file.path, bytes_known=file.bytes)
            if not found and is_current and self.expects_all and self._is_lost(file.path):
                detail = f"`{manifest.path}` names `{file.path}`, which is not there"
                reason = CleanupReason.FILE_LOST
                raise CleanupRefusedError(self.table, detail, reason=reason, path=file.path)
        self.read.add(manifest.path)

    def _is_lost(self, location: str) -> bool:
        return self.listing.holds(location) and not self.listing.store.exists(location)

    def _size(self, location: str) -> int:
        try:
            facts = self.listing.store.stat(location)
        except OSError:
            return 0
        return facts.bytes if facts else 0

    def written_ns(self, location: str) -> int | None:
        """When a file was written; None if that cannot be told."""
        try:
            facts = self.listing.store.stat(location)
        except OSError:
            return None
        return facts.modified_ns if facts else None


def mark_table(walk: Walk, table: KnownTable, *, cutoff_ns: int) -> None:
    """Mark what a table needs, and what a reader may still need that pinned it since the cutoff.

    A metadata file was current until its successor was written: those younger than the cutoff and
    the one before them are followed. Older ones that the log names stay, their snapshots do not.
    """
    walk.mark(table.metadata_location)
    content = walk.follow(table.io, table.metadata_location, is_current=True)
    older = [each["metadata-file"] for each in content.get("metadata-log") or ()]
    for location in older:
        walk.mark(location)
    successor_ns = walk.written_ns(table.metadata_location)
    for location in reversed(older):
        if successor_ns is None or successor_ns <= cutoff_ns:
            break
        written_ns = walk.written_ns(location)
        if written_ns is not None:
            walk.follow(table.io, location, is_current=False)
            successor_ns = written_ns


def mark_versions(walk: Walk, tables: Sequence[KnownTable], *, cutoff_ns: int) -> None:
    """Mark what other metadata files in the folder need: young ones, and those of unknown tables.

    A file with the id of no table of this catalog may be another catalog's newest, or all that is
    left of a dropped table, and one of a table that this catalog names an older version of is another
    catalog's (`Lineage`): both stay, with everything they name.
    """
    lines: dict[str, Lineage] = {}
    for table in tables:
        lines[table.uuid] = Lineage.of(table, beside=lines.get(table.uuid))
    hinted = _hinted(walk.listing)
    for path in sorted(walk.listing.metadata_files):
        seen = sighted(path, walk.listing.store)
        if seen is None:
            continue  # truncated by a crash, or gone: it cannot be read, so its age decides
        line = lines.get(seen.uuid)
        stays = (
            line is None
            or path in hinted
            or line.is_left_behind_by(seen, store=walk.listing.store, io=walk.io)
        )
        is_young = seen.written_ns > cutoff_ns
        if stays:
            walk.mark(path)
        if is_young or stays:
            # another engine may be writing a young one just now
            _follow_file(walk, path, must_be_whole=not is_young)


def _follow_file(walk: Walk, path: str, *, must_be_whole: bool) -> None:
    try:
        read_metadata(walk.io, path)
    except (CorruptFileError, FileNotFoundError):
        if must_be_whole:
            raise
        return
    content = walk.follow(walk.io, path, is_current=False)
    if must_be_whole:
        for each in content.get("metadata-log") or ():
            walk.mark(each["metadata-file"])


def _hinted(listing: Listing) -> frozenset[str]:
    """Return the metadata files that engines without a catalog take for the newest."""
    found: set[str] = set()
    for folder in listing.metadata_folders:
        try:
            version = listing.store.read(f"{folder}/version-hint.text").decode().strip()
        except (OSError, ValueError):
            continue
        stems = (f"v{version}", version, f"v{version}.gz", f"{version}.gz")
        found.update(f"{folder}/{stem}.metadata.json" for stem in stems)
    return frozenset(found)
