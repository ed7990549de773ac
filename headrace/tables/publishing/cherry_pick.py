"""Cherry-pick: append to a branch what commits elsewhere added."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from pyiceberg.manifest import DataFile
from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.refs import MAIN_BRANCH
from pyiceberg.table.snapshots import Operation, ancestors_of

from headrace.definitions.properties import PICKED
from headrace.errors import (
    AlreadyPublishedError,
    CherryPickReason,
    CherryPickRefusedError,
    SnapshotNotFoundError,
)
from headrace.iceberg import manifests
from headrace.iceberg.updates import branch_of
from headrace.registry import CommitRecord
from headrace.tables.commits import operations
from headrace.tables.commits.operations import Commit, Provenance
from headrace.tables.commits.summary import keys_of
from headrace.tables.history.ancestry import Ancestry
from headrace.tables.history.commit_log import (
    PUBLISHED_WAP_ID,
    SOURCE_SNAPSHOT_ID,
    WAP_ID,
    audit_origin,
    facts_of,
    snapshot_origin,
    sources_of,
)
from headrace.tables.history.property_log import moves_offsets
from headrace.tables.lake import LakeTable


def cherry_pick(table: LakeTable, snapshot_id: int, *, branch: str = MAIN_BRANCH) -> Commit:
    """Add the rows of one append, from any branch, to a branch.

    Its data files are shared, not copied. The new commit records its source as other engines do
    (`source-snapshot-id`, `published-wap-id`), and no snapshot is cherry-picked twice.

    Raises:
        SnapshotNotFoundError: If the snapshot or the branch does not exist.
        AlreadyPublishedError: If the branch has these rows: the snapshot is in its history or was
            cherry-picked before.
        CherryPickRefusedError: If the snapshot did more than append, or moved source offsets:
            those rows come back when ingest runs again.

    """
    metadata = table.iceberg().metadata
    snapshot = metadata.snapshot_by_id(snapshot_id)
    if snapshot is None:
        raise SnapshotNotFoundError(str(table.name), f"snapshot {snapshot_id}")
    head = branch_of(metadata, branch, table=table.name)
    history = Ancestry.of(table, metadata)
    if history.path(head.snapshot_id, back_to=snapshot_id) is not None:
        what = f"snapshot {snapshot_id}"
        raise AlreadyPublishedError(str(table.name), what, snapshot_id=snapshot_id)
    picked = facts_of(table.name, snapshot)
    refusal = refusal_of(picked, properties=metadata.properties)
    if refusal is not None:
        raise CherryPickRefusedError(
            str(table.name), snapshot_id, refusal.detail, reason=refusal.reason
        )
    return cherry_pick_commits(table, [picked], tip_id=snapshot_id, branch=branch)


@dataclass(frozen=True)
class Refusal:
    """Why a commit cannot be cherry-picked."""

    reason: CherryPickReason
    detail: str


def refusal_of(picked: CommitRecord, *, properties: Mapping[str, str]) -> Refusal | None:
    """Return why a commit cannot be cherry-picked; None if it can."""
    commit = f"commit {picked.snapshot_id}"
    if picked.operation != Operation.APPEND.value:
        detail = f"{commit} is of kind `{picked.operation}`, and only appends can be cherry-picked"
        return Refusal(CherryPickReason.NOT_AN_APPEND, detail)
    if moves_offsets(picked, properties=properties):
        detail = f"{commit} moved source offsets, which are valid on its branch only"
        return Refusal(CherryPickReason.MOVED_OFFSETS, detail)
    return None


class Holdings:
    """What the history of a branch contains, by its own commits or by cherry-picked ones."""

    def __init__(self, table: LakeTable, metadata: TableMetadata, *, branch: str) -> None:
        self._table, self._branch = table, branch
        self._found: dict[str, int] = {}
        for snapshot in ancestors_of(metadata.snapshot_by_name(branch), metadata):
            origins = facts_of(table.name, snapshot).origins
            for origin in (snapshot_origin(snapshot.snapshot_id), *origins):
                self._found.setdefault(origin, snapshot.snapshot_id)

    def audit(self, audit_id: str) -> int | None:
        """Return the commit that published an audit's rows; None if there is none.

        Raises:
            DatabaseUnavailableError: If the registry, which knows expired commits, is unavailable.

        """
        return self._origin(audit_origin(audit_id))

    def snapshot(self, snapshot_id: int) -> int | None:
        """Return the commit that added a snapshot's rows to the branch: itself or another; else None.

        Raises:
            DatabaseUnavailableError: See `audit`.

        """
        found = self._origin(snapshot_origin(snapshot_id))
        if found is None and self._branch == MAIN_BRANCH:
            registry, name = self._table.lake.registry, str(self._table.name)
            return snapshot_id if registry.knows_commit(name, snapshot_id, on_main=True) else None
        return found

    def of(self, picked: CommitRecord) -> dict[int, int]:
        """Map those source snapshots of a commit that the branch has to the commits that added them."""
        by_itself = self.snapshot(picked.snapshot_id)
        if by_itself is not None:
            return dict.fromkeys(sources_of(picked), by_itself)
        held = {each: self.snapshot(each) for each in sources_of(picked)}
        return {each: by for each, by in held.items() if by is not None}

    def _origin(self, origin: str) -> int | None:
        found = self._found.get(origin)
        if found is None and self._branch == MAIN_BRANCH:
            return self._table.lake.registry.commit_from(str(self._table.name), origin)
        return found


def cherry_pick_commits(
    table: LakeTable,
    picked: Sequence[CommitRecord],
    *,
    tip_id: int,
    branch: str,
    guard: Callable[[Table], None] = lambda _: None,
) -> Commit:
    """Add the rows of several appends in the history of `tip_id` to a branch, in one commit.

    Raises:
        AlreadyPublishedError: If the branch has the rows of one of them.

    """
    version = table.at(snapshot_id=tip_id)
    numbers = {each.sequence_number for each in picked}
    files = [file.data_file for file in version.files() if file.sequence in numbers]

    def refuse_again(current: Table) -> None:
        guard(current)
        holdings = Holdings(table, current.metadata, branch=branch)
        for one in picked:
            for each, by in holdings.of(one).items():
                what = f"what snapshot {each} added"
                raise AlreadyPublishedError(str(table.name), what, snapshot_id=by)
        _refuse_live(table, current, files, tip_id=tip_id, branch=branch)

    return operations.append(
        table,
        files,
        provenance=_provenance(picked, version.summary, tip_id=tip_id),
        branch=branch,
        guard=refuse_again,
    )


def _refuse_live(
    table: LakeTable, current: Table, files: Collection[DataFile], *, tip_id: int, branch: str
) -> None:
    """Refuse files that are live on the branch, even if the registry lost the record of it."""
    metadata, paths = current.metadata, {file.file_path for file in files}
    head = metadata.snapshot_by_name(branch)
    specs = {file.spec_id for file in files}
    may_hold = [
        manifests.holds_partitions(
            metadata,
            keys_of([file for file in files if file.spec_id == spec_id], metadata),
            spec_id=spec_id,
        )
        for spec_id in specs
    ]
    for entry in manifests.live_entries(
        manifests.manifests_of(head, current.io),
        current.io,
        may_hold=lambda manifest: all(test(manifest) for test in may_hold),
    ):
        if head is not None and entry.data_file.file_path in paths:
            what = f"`{entry.data_file.file_path}` of snapshot {tip_id}"
            raise AlreadyPublishedError(str(table.name), what, snapshot_id=head.snapshot_id)


def _provenance(
    picked: Sequence[CommitRecord], summary: Mapping[str, str], *, tip_id: int
) -> Provenance:
    notes = {SOURCE_SNAPSHOT_ID: str(tip_id)}
    # keep the original sources, so that picking this commit again still names them
    sources = {each.snapshot_id for each in picked}.union(*(sources_of(each) for each in picked))
    if sources != {tip_id}:
        notes[PICKED] = json.dumps(sorted(sources))
    audit_id = summary.get(WAP_ID) or summary.get(PUBLISHED_WAP_ID)
    if audit_id:
        notes[PUBLISHED_WAP_ID] = audit_id
    newest = max(picked, key=lambda each: each.sequence_number)
    inputs: dict[str, int] = {}
    for each in sorted(picked, key=lambda each: each.sequence_number):
        inputs |= each.inputs
    return Provenance(inputs=inputs, code=newest.code, run_id=newest.run_id, notes=notes)
