"""How far a stream's sources are taken: the few that moved last in the table, the rest in a ledger.

The table property `headrace.offsets.<stream>` holds the next offset of each open partition, and the id of
the newest seal in the registry's ledger of all others. `headrace.source_files.<stream>` holds the bytes
and fingerprints of the open ones. Both change in the commit of the rows, and move with `main`.
Partitions of a log all stay open: their number is bounded, and every commit moves most of them.
Files are sealed before the commit that drops them from the table. A seal that no table names has
no effect, so a crash in between, a rival and a rollback need no clean-up.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from pyiceberg.table.metadata import TableMetadata

from headrace.crash_points import crash_point
from headrace.definitions.properties import (
    FORMER_SOURCE_BYTES,
    OFFSETS_PREFIX,
    SKIPPED_PREFIX,
    SOURCE_FILES_PREFIX,
)
from headrace.ingest.sources.base import Position, Seen, SourcePartition
from headrace.registry import SealedSource
from headrace.tables.commits.operations import Fence, move_properties
from headrace.tables.history.property_log import SEALED
from headrace.tables.lake import LakeTable

OPEN_MAX = 32  # each takes about 200 bytes of every metadata file
_MOVED_AT_ONCE_MAX = 4 * OPEN_MAX


@dataclass(frozen=True, kw_only=True)
class Positions:
    """What one table says about the sources of one stream; immutable, but reads the ledger.

    The partitions of a log (`is_log`) all stay open.
    """

    table: LakeTable
    stream: str
    is_log: bool = False
    open: Mapping[SourcePartition, Position]
    sealed: int | None
    skipped: frozenset[str] = frozenset()

    @classmethod
    def read(
        cls, table: LakeTable, properties: Mapping[str, str], *, stream: str, is_log: bool = False
    ) -> Self:
        """Read what a version of the table says."""
        offsets: dict[str, int] = json.loads(properties.get(OFFSETS_PREFIX + stream, "{}"))
        files = _files(properties, stream=stream)
        sealed = offsets.pop(SEALED, None)
        found = {
            SourcePartition.of_key(key): _position(offset, files.get(key, []))
            for key, offset in offsets.items()
        }
        return cls(
            table=table,
            stream=stream,
            is_log=is_log,
            open=found,
            sealed=sealed,
            skipped=skipped_files(properties, stream=stream),
        )

    def of(self, partitions: Collection[SourcePartition]) -> dict[SourcePartition, Position]:
        """Return how far partitions are taken; those of which nothing was taken are left out.

        Raises:
            SourceLedgerError: If the ledger lost a part of what was sealed.

        """
        found = {each: self.open[each] for each in partitions if each in self.open}
        if self.sealed is not None and len(found) < len(partitions):
            rest = [each.key for each in partitions if each not in found]
            ledger = self.table.lake.registry.sources
            found |= {
                SourcePartition.of_key(key): _of(each)
                for key, each in ledger.find(self.sealed, rest).items()
            }
        for each in partitions if self.skipped else ():
            if each.key in self.skipped:
                found[each] = replace(found.get(each, Position()), is_skipped=True)
        return found

    def alike(self, taken: Mapping[SourcePartition, Position]) -> dict[str, tuple[str, ...]]:
        """Return, for each file just taken, the files with equal content that were taken before it.

        Of two that were both just taken, the first by name counts as the one before.

        Raises:
            SourceLedgerError: If the ledger lost a part of what was sealed.

        """
        if self.is_log:  # its fingerprints are of another kind
            return {}
        files = {each.key: at for each, at in taken.items()}
        wanted = {at.fingerprint for at in files.values() if at.offset and at.fingerprint}
        names: dict[str, set[str]] = {each: set() for each in wanted}
        for each, at in self.open.items():
            if at.fingerprint in names:
                names[at.fingerprint].add(each.key)
        if self.sealed is not None and wanted:
            for each in self.table.lake.registry.sources.with_content(self.sealed, wanted):
                names[each.fingerprint].add(each.source)
        found = {
            source: tuple(
                other
                for other in sorted(names[at.fingerprint] - {source})
                if other not in files or other < source
            )
            for source, at in files.items()
            if at.fingerprint in names
        }
        return {source: others for source, others in found.items() if others}

    def every(self) -> dict[SourcePartition, int]:
        """Return the next offset of every partition of which something was taken.

        Raises:
            SourceLedgerError: If the ledger lost a part of what was sealed.

        """
        found: dict[SourcePartition, int] = {}
        if self.sealed is not None:
            ledger = self.table.lake.registry.sources
            names = sorted(ledger.sealed_since(self.sealed, older=None))
            found |= {
                SourcePartition.of_key(key): each.records
                for key, each in ledger.find(self.sealed, names).items()
            }
        return found | {each: at.offset for each, at in self.open.items()}

    @property
    def count(self) -> int:
        """The number of partitions of which something was taken."""
        if self.sealed is None:
            return len(self.open)
        ledger = self.table.lake.registry.sources
        again = ledger.find(self.sealed, [each.key for each in self.open])
        return ledger.count(self.sealed) + len(self.open) - len(again)

    def moved(self, ends: Mapping[SourcePartition, Position]) -> "Positions":
        """Move partitions to their new ends; if too many are open, seal the others.

        Changes no table.
        """
        moved = replace(self, open={**self.open, **ends})
        few = len(moved.open) <= OPEN_MAX
        if few or self.is_log or self.table.lake.foreign:  # a foreign one's registry is not shared
            return moved
        return moved.without(self.open.keys() - ends.keys())

    def without(self, partitions: Collection[SourcePartition]) -> "Positions":
        """Seal open partitions; changes no table."""
        if not partitions:
            return self
        rows = [_sealed(each, self.open[each]) for each in sorted(partitions)]
        ledger = self.table.lake.registry.sources
        sealed = ledger.seal(str(self.table.name), self.stream, rows, after=self.sealed)
        crash_point("ingest.after_seal")
        left = {each: at for each, at in self.open.items() if each not in partitions}
        return replace(self, open=left, sealed=sealed)

    def fence(self, *, moved: "Positions") -> Fence:
        """Let a commit land only while the table says this; it says `moved` afterwards."""
        return Fence(key=self.stream, expected=self.offsets(), offsets=moved.offsets())

    def offsets(self) -> dict[str, int]:
        """The content of the table's offsets property."""
        sealed = {} if self.sealed is None else {SEALED: self.sealed}
        return sealed | {each.key: at.offset for each, at in self.open.items()}

    def files(self) -> dict[str, str]:
        """The property that holds the bytes and fingerprints of the open files."""
        entries = {
            each.key: [at.offset, at.bytes, at.fingerprint, *at.seen]
            for each, at in self.open.items()
            if at.bytes or at.fingerprint
        }
        return {SOURCE_FILES_PREFIX + self.stream: _text(entries)}

    def noting(self, unchanged: Mapping[SourcePartition, Position]) -> "Positions":
        """Remember the change times of files that were read again and had not changed.

        The next commit stores those of open files, the ledger stores those of sealed ones at once.
        """
        rows = [_sealed(each, at) for each, at in unchanged.items() if each not in self.open]
        self.table.lake.registry.sources.note_seen(rows)
        return replace(self, open={each: unchanged.get(each, at) for each, at in self.open.items()})


def skipped_files(properties: Mapping[str, str], *, stream: str) -> frozenset[str]:
    """Name the files that a person said to leave out."""
    return frozenset(json.loads(properties.get(SKIPPED_PREFIX + stream, "[]")))


def seal_former(table: LakeTable, *, stream: str) -> None:
    """Seal the files of a table that still names every file it ever took; idempotent.

    Files that an existing snapshot moved stay open, so that `main` can be moved to that snapshot.

    Raises:
        CatalogBusyError, DatabaseUnavailableError: See `commit_updates`; a retry is safe.

    """

    def changes_of(metadata: TableMetadata) -> Mapping[str, str | None]:
        found = Positions.read(table, metadata.properties, stream=stream)
        former = _former_bytes(metadata.properties)
        is_former = any(each.key in former for each in found.open)
        if not is_former and len(found.open) <= _MOVED_AT_ONCE_MAX:
            return {}
        rest = found.open.keys() - _moved_lately(metadata, stream=stream)
        now = found.without(rest)
        changed: dict[str, str | None] = {OFFSETS_PREFIX + stream: _text(now.offsets())}
        if is_former:
            named = {each.key for each in found.open}
            left = {source: at for source, at in former.items() if source not in named}
            changed |= now.files() | {FORMER_SOURCE_BYTES: _text(left) if left else None}
        return changed

    if not table.lake.foreign:
        move_properties(table, changes_of)


def _text(value: Mapping[str, Any]) -> str:
    return json.dumps(value, sort_keys=True)


def _moved_lately(metadata: TableMetadata, *, stream: str) -> set[SourcePartition]:
    summaries = (each.summary for each in metadata.snapshots if each.summary is not None)
    texts = (each.additional_properties.get(OFFSETS_PREFIX + stream, "{}") for each in summaries)
    return {SourcePartition.of_key(key) for text in texts for key in json.loads(text)}


def _former_bytes(properties: Mapping[str, str]) -> dict[str, int]:
    return json.loads(properties.get(FORMER_SOURCE_BYTES, "{}"))


def _files(properties: Mapping[str, str], *, stream: str) -> dict[str, list[Any]]:
    text = properties.get(SOURCE_FILES_PREFIX + stream)
    if text is not None:
        return json.loads(text)
    offsets: dict[str, int] = json.loads(properties.get(OFFSETS_PREFIX + stream, "{}"))
    former = _former_bytes(properties)
    return {name: [at, former[name], "", 0, 0] for name, at in offsets.items() if name in former}


def _position(offset: int, file: list[Any]) -> Position:
    # only offsets are fenced: where the two disagree, the offset holds
    if not file or file[0] != offset:
        return Position(offset)
    return Position(offset, file[1], file[2], Seen(*file[3:]))


def _of(sealed: SealedSource) -> Position:
    seen = Seen(sealed.changed_ns, sealed.inode)
    return Position(sealed.records, sealed.bytes, sealed.fingerprint, seen)


def _sealed(partition: SourcePartition, at: Position) -> SealedSource:
    return SealedSource(partition.key, at.offset, at.bytes, at.fingerprint, *at.seen)
