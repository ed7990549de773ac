"""How far a stream's sources are taken: the few that moved last in the table, the rest in a ledger.

The table property `headrace.offsets.<stream>` holds the next record of each open source, and the id of
the newest seal in the registry's ledger of all others; `headrace.source_files.<stream>` holds the bytes
and fingerprints of the open ones. Both move with the rows, in one swap, and `main` takes them along
when it is moved. Sources are sealed before the commit that drops them from the table: a seal that no
table names counts for nothing, so a crash in between, a rival and a rollback need no clean-up.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from pyiceberg.table.metadata import TableMetadata

from headrace.crash_points import crash_point
from headrace.definitions.properties import FORMER_SOURCE_BYTES, OFFSETS_PREFIX, SOURCE_FILES_PREFIX
from headrace.ingest.sources.base import Position, Seen
from headrace.registry import SealedSource
from headrace.tables.commits.operations import Fence, move_properties
from headrace.tables.history.property_log import SEALED
from headrace.tables.lake import LakeTable

OPEN_MAX = 32  # each takes some 200 bytes of every metadata file
_MOVED_AT_ONCE_MAX = 4 * OPEN_MAX


@dataclass(frozen=True, kw_only=True)
class Positions:
    """What one table says about the sources of one stream; a value, but its ledger is asked."""

    table: LakeTable
    stream: str
    open: Mapping[str, Position]
    sealed: int | None

    @classmethod
    def read(cls, table: LakeTable, properties: Mapping[str, str], *, stream: str) -> Self:
        """Read what a version of the table says."""
        offsets: dict[str, int] = json.loads(properties.get(OFFSETS_PREFIX + stream, "{}"))
        files = _files(properties, stream=stream)
        sealed = offsets.pop(SEALED, None)
        found = {
            source: _position(records, files.get(source, [])) for source, records in offsets.items()
        }
        return cls(table=table, stream=stream, open=found, sealed=sealed)

    def of(self, sources: Collection[str]) -> dict[str, Position]:
        """Look up how far sources are taken; those of which nothing was are left out.

        Raises:
            SourceLedgerError: If the ledger lost a part of what was sealed.

        """
        found = {source: self.open[source] for source in sources if source in self.open}
        if self.sealed is not None and len(found) < len(sources):
            rest = [source for source in sources if source not in found]
            ledger = self.table.lake.registry.sources
            found |= {name: _of(each) for name, each in ledger.find(self.sealed, rest).items()}
        return found

    def alike(self, taken: Mapping[str, Position]) -> dict[str, tuple[str, ...]]:
        """Name, for each source just taken, those taken before it up to equal bytes.

        Of two that were both just taken, the first by name counts as the one before.

        Raises:
            SourceLedgerError: If the ledger lost a part of what was sealed.

        """
        wanted = {at.fingerprint for at in taken.values() if at.records and at.fingerprint}
        names: dict[str, set[str]] = {each: set() for each in wanted}
        for source, at in self.open.items():
            if at.fingerprint in names:
                names[at.fingerprint].add(source)
        if self.sealed is not None and wanted:
            for each in self.table.lake.registry.sources.with_content(self.sealed, wanted):
                names[each.fingerprint].add(each.source)
        found = {
            source: tuple(
                other
                for other in sorted(names[at.fingerprint] - {source})
                if other not in taken or other < source
            )
            for source, at in taken.items()
            if at.fingerprint in names
        }
        return {source: others for source, others in found.items() if others}

    @property
    def count(self) -> int:
        """How many sources something was taken of."""
        if self.sealed is None:
            return len(self.open)
        ledger = self.table.lake.registry.sources
        again = ledger.find(self.sealed, self.open.keys())
        return ledger.count(self.sealed) + len(self.open) - len(again)

    def moved(self, source: str, to: Position) -> "Positions":
        """Move one source on; seals the others if too many are open, which changes no table."""
        moved = replace(self, open={**self.open, source: to})
        if len(moved.open) <= OPEN_MAX or self.table.lake.foreign:  # whose registry is not shared
            return moved
        return moved.without(self.open.keys() - {source})

    def without(self, sources: Collection[str]) -> "Positions":
        """Seal open sources, which changes no table."""
        if not sources:
            return self
        rows = [_sealed(source, self.open[source]) for source in sorted(sources)]
        ledger = self.table.lake.registry.sources
        sealed = ledger.seal(str(self.table.name), self.stream, rows, after=self.sealed)
        crash_point("ingest.after_seal")
        left = {source: at for source, at in self.open.items() if source not in sources}
        return replace(self, open=left, sealed=sealed)

    def fence(self, *, moved: "Positions") -> Fence:
        """Let a commit land only while the table says this, and say `moved` from then on."""
        return Fence(key=self.stream, expected=self.offsets(), offsets=moved.offsets())

    def offsets(self) -> dict[str, int]:
        """What the table's offsets property holds."""
        sealed = {} if self.sealed is None else {SEALED: self.sealed}
        return sealed | {source: at.records for source, at in self.open.items()}

    def files(self) -> dict[str, str]:
        """The property that holds the bytes and fingerprints of the open sources."""
        entries = {
            source: [at.records, at.bytes, at.fingerprint, *at.seen]
            for source, at in self.open.items()
            if at.bytes or at.fingerprint
        }
        return {SOURCE_FILES_PREFIX + self.stream: _text(entries)}

    def noting(self, unchanged: Mapping[str, Position]) -> "Positions":
        """Remember when sources that were read again, and found as they were, had last changed.

        Of the open ones the next commit says it, of the sealed ones the ledger does from now on.
        """
        rows = [_sealed(name, at) for name, at in unchanged.items() if name not in self.open]
        self.table.lake.registry.sources.note_seen(rows)
        return replace(self, open={name: unchanged.get(name, at) for name, at in self.open.items()})


def seal_former(table: LakeTable, *, stream: str) -> None:
    """Move sources of a table that still names each one it ever took to the ledger; idempotent.

    Those that a snapshot which is still there has moved stay open, so that `main` can be moved to it.

    Raises:
        CatalogBusyError, DatabaseUnavailableError: See `commit_updates`; doing it again is safe.

    """

    def changes_of(metadata: TableMetadata) -> Mapping[str, str | None]:
        found = Positions.read(table, metadata.properties, stream=stream)
        former = _former_bytes(metadata.properties)
        is_former = bool(found.open.keys() & former.keys())
        if not is_former and len(found.open) <= _MOVED_AT_ONCE_MAX:
            return {}
        rest = found.open.keys() - _moved_lately(metadata, stream=stream)
        now = found.without(rest)
        changed: dict[str, str | None] = {OFFSETS_PREFIX + stream: _text(now.offsets())}
        if is_former:
            left = {source: at for source, at in former.items() if source not in found.open}
            changed |= now.files() | {FORMER_SOURCE_BYTES: _text(left) if left else None}
        return changed

    if not table.lake.foreign:
        move_properties(table, changes_of)


def _text(value: Mapping[str, Any]) -> str:
    return json.dumps(value, sort_keys=True)


def _moved_lately(metadata: TableMetadata, *, stream: str) -> set[str]:
    summaries = (each.summary for each in metadata.snapshots if each.summary is not None)
    texts = (each.additional_properties.get(OFFSETS_PREFIX + stream, "{}") for each in summaries)
    return {source for text in texts for source in json.loads(text)}


def _former_bytes(properties: Mapping[str, str]) -> dict[str, int]:
    return json.loads(properties.get(FORMER_SOURCE_BYTES, "{}"))


def _files(properties: Mapping[str, str], *, stream: str) -> dict[str, list[Any]]:
    text = properties.get(SOURCE_FILES_PREFIX + stream)
    if text is not None:
        return json.loads(text)
    offsets: dict[str, int] = json.loads(properties.get(OFFSETS_PREFIX + stream, "{}"))
    former = _former_bytes(properties)
    return {name: [at, former[name], "", 0, 0] for name, at in offsets.items() if name in former}


def _position(records: int, file: list[Any]) -> Position:
    # offsets are moved strictly and the rest is not: where they disagree, only offsets hold
    if not file or file[0] != records:
        return Position(records)
    return Position(records, file[1], file[2], Seen(*file[3:]))


def _of(sealed: SealedSource) -> Position:
    seen = Seen(sealed.changed_ns, sealed.inode)
    return Position(sealed.records, sealed.bytes, sealed.fingerprint, seen)


def _sealed(source: str, at: Position) -> SealedSource:
    return SealedSource(source, at.records, at.bytes, at.fingerprint, *at.seen)
