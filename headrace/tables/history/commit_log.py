"""Commit records, read from snapshot summaries and kept in the registry after expiry."""

import contextlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from pyiceberg.io import FileIO
from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.refs import MAIN_BRANCH
from pyiceberg.table.snapshots import Snapshot, ancestors_of

from headrace.definitions.properties import (
    CODE,
    INPUTS,
    MOVES,
    OFFSETS_PREFIX,
    PARTITIONS,
    PICKED,
    RUN_ID,
)
from headrace.errors import DatabaseUnavailableError
from headrace.iceberg import partitions
from headrace.iceberg.manifests import entries_of, manifests_of
from headrace.identifiers import TableName
from headrace.registry import CommitRecord, Registry

if TYPE_CHECKING:
    from headrace.tables.lake import LakeTable

# summary keys of other engines for the origin of a commit that was audited or cherry-picked
WAP_ID = "wap.id"
PUBLISHED_WAP_ID = "published-wap-id"
SOURCE_SNAPSHOT_ID = "source-snapshot-id"
_SNAPSHOT = "snapshot:"
NOTHING_MOVED = "{}"


def record_of(
    table: TableName, snapshot: Snapshot, metadata: TableMetadata, io: FileIO
) -> CommitRecord:
    """Read one commit's record from its snapshot summary, else from its manifests."""
    return replace(facts_of(table, snapshot), partitions=_touched(snapshot, metadata, io))


def facts_of(table: TableName, snapshot: Snapshot) -> CommitRecord:
    """Read one commit's record, without its partitions, from its snapshot summary alone."""
    summary = snapshot.summary
    facts: Mapping[str, str] = summary.additional_properties if summary else {}
    return CommitRecord(
        table=str(table),
        snapshot_id=snapshot.snapshot_id,
        parent_id=snapshot.parent_snapshot_id,
        sequence_number=snapshot.sequence_number or 0,
        committed_at_ms=snapshot.timestamp_ms,
        operation=summary.operation.value if summary else "append",
        inputs=json.loads(facts.get(INPUTS, "{}")),
        code=facts.get(CODE, ""),
        run_id=facts.get(RUN_ID, ""),
        files_added=int(facts.get("added-data-files", 0)),
        files_removed=int(facts.get("deleted-data-files", 0)),
        rows_added=int(facts.get("added-records", 0)),
        rows_removed=int(facts.get("deleted-records", 0)),
        moves=_moves(facts),
        origins=_origins(facts),
    )


def _moves(facts: Mapping[str, str]) -> str:
    if MOVES in facts:
        return facts[MOVES]
    # a commit that moved offsets without recording their old values cannot be rolled back
    return "" if any(name.startswith(OFFSETS_PREFIX) for name in facts) else NOTHING_MOVED


def _origins(facts: Mapping[str, str]) -> tuple[str, ...]:
    picked = {str(each) for each in json.loads(facts.get(PICKED, "[]"))}
    if facts.get(SOURCE_SNAPSHOT_ID, "").isdecimal():
        picked.add(facts[SOURCE_SNAPSHOT_ID])
    audits = {facts[name] for name in (WAP_ID, PUBLISHED_WAP_ID) if name in facts}
    return (*(snapshot_origin(each) for each in sorted(picked)), *map(audit_origin, sorted(audits)))


def snapshot_origin(snapshot_id: int | str) -> str:
    """Return the origin text of a snapshot."""
    return f"{_SNAPSHOT}{snapshot_id}"


def sources_of(commit: CommitRecord) -> frozenset[int]:
    """Return the snapshots whose rows a commit added: itself, or its cherry-picked sources."""
    picked = (each for each in commit.origins if each.startswith(_SNAPSHOT))
    found = frozenset(int(each.removeprefix(_SNAPSHOT)) for each in picked)
    return found or frozenset({commit.snapshot_id})


def audit_origin(audit_id: str) -> str:
    """Return the origin text of an audit."""
    return f"audit:{audit_id}"


def _touched(snapshot: Snapshot, metadata: TableMetadata, io: FileIO) -> tuple[str, ...]:
    facts = snapshot.summary.additional_properties if snapshot.summary else {}
    if PARTITIONS in facts:
        return tuple(json.loads(facts[PARTITIONS]))
    # many partitions, or another engine's commit: read from the manifests what it touched
    terms = partitions.all_terms(metadata)
    found = {
        partitions.key_to_text(
            partitions.key_of_record(entry.data_file.partition, terms[manifest.partition_spec_id])
        )
        for manifest in manifests_of(snapshot, io)
        if manifest.added_snapshot_id == snapshot.snapshot_id
        for entry in entries_of(manifest, io)
        if entry.snapshot_id == snapshot.snapshot_id
    }
    return tuple(sorted(found))


def record_head(
    registry: Registry,
    table: TableName,
    metadata: TableMetadata,
    io: FileIO,
    *,
    branch: str = MAIN_BRANCH,
) -> None:
    """Record the commits of a branch, from its head back to the newest recorded one.

    Usually that is one commit; after a crash between a swap and its record, or after commits of
    another engine, it is all that are missing. Commits that only other branches have are recorded
    as such until a fast-forward of `main` reaches them.
    """
    on_main = branch == MAIN_BRANCH
    if not on_main:
        record_head(registry, table, metadata, io)
    head = metadata.snapshot_by_name(branch)
    position = None if head is None else head.snapshot_id
    missing: list[Snapshot] = []
    gained: list[int] = []
    while position is not None and not registry.knows_commit(str(table), position, on_main=on_main):
        snapshot = metadata.snapshot_by_id(position)
        if snapshot is None:
            gained.append(position)
        else:
            missing.append(snapshot)
        if snapshot is None or snapshot.parent_snapshot_id is None:
            # it or its parent has expired, so it was recorded before
            known = registry.commit(str(table), position)
            position = None if known is None else known.parent_id
        else:
            position = snapshot.parent_snapshot_id
    for snapshot in reversed(missing):
        record = record_of(table, snapshot, metadata, io)
        if not registry.record_commit(record, on_main=on_main):
            gained.append(snapshot.snapshot_id)
    if on_main and gained:
        registry.move_main(str(table), gained=gained)


def record_expiring(
    registry: Registry, table: TableName, loaded: Table, snapshot_ids: Collection[int]
) -> None:
    """Record snapshots that are about to expire, and their children, which lose their parent."""
    dying = frozenset(snapshot_ids)
    missing = [
        snapshot
        for snapshot in loaded.metadata.snapshots
        if (snapshot.snapshot_id in dying or snapshot.parent_snapshot_id in dying)
        and not registry.knows_commit(str(table), snapshot.snapshot_id)
    ]
    if not missing:
        return
    head = loaded.metadata.snapshot_by_name(MAIN_BRANCH)
    on_main = {each.snapshot_id for each in ancestors_of(head, loaded.metadata)}
    for snapshot in missing:
        record = record_of(table, snapshot, loaded.metadata, loaded.io)
        registry.record_commit(record, on_main=snapshot.snapshot_id in on_main)


def newest(table: "LakeTable", *, limit: int) -> list[CommitRecord]:
    """Read the newest commits of `main` from its snapshots, as far back as they are kept."""
    loaded = table.iceberg()
    snapshot = loaded.metadata.snapshot_by_name(MAIN_BRANCH)
    found: list[CommitRecord] = []
    while snapshot is not None and len(found) < limit:
        found.append(record_of(table.name, snapshot, loaded.metadata, loaded.io))
        parent = snapshot.parent_snapshot_id
        snapshot = None if parent is None else loaded.metadata.snapshot_by_id(parent)
    return found


def record_main(
    table: "LakeTable",
    *,
    gained: Sequence[CommitRecord] = (),
    lost: Sequence[CommitRecord] = (),
) -> None:
    """Record that `main` was moved; if the registry is unavailable, the next commit records it."""
    registry = table.lake.registry
    with contextlib.suppress(DatabaseUnavailableError):
        registry.move_main(
            str(table.name),
            gained=[commit.snapshot_id for commit in gained],
            lost=[commit.snapshot_id for commit in lost],
        )
        if not table.lake.foreign:  # commits of other programs are not recorded
            current = table.iceberg()
            record_head(registry, table.name, current.metadata, current.io)
