"""Clean-up: orphan files, which no table, reader or running writer needs, go to the table's trash.

A plan is made without a lock. Applying it takes the table's lock, checks again what changed since,
and moves the files that are still orphans.
"""

import datetime as dt
import time
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from headrace.errors import (
    CleanupReason,
    CleanupRefusedError,
    CleanupTooYoungError,
    GarbageKeptError,
)
from headrace.iceberg.standard_properties import collects_garbage
from headrace.identifiers import TableName
from headrace.maintenance.cleanup import orphans
from headrace.maintenance.cleanup.known_tables import KnownTable, known_tables
from headrace.maintenance.cleanup.listing import Listing, is_within, list_files
from headrace.maintenance.cleanup.reachable import (
    Walk,
    mark_table,
    mark_versions,
)
from headrace.maintenance.cleanup.trash import TrashedFile, folder_lock, move_to_trash, root_of
from headrace.maintenance.cleanup.unfinished import (
    UnfinishedUpload,
    give_up,
    unfinished_uploads,
)
from headrace.tables import intents
from headrace.tables.lake import LakeTable

_NS = 1_000_000_000


@dataclass(frozen=True, kw_only=True)
class UnreferencedFile:
    """An orphan file; `path` is relative to the table's location."""

    path: str
    bytes: int
    age_s: float
    kind: str
    token: str = field(repr=False)  # as in `storage.folders.Facts`


@dataclass(frozen=True, kw_only=True)
class Kept:
    """How many files clean-up leaves where they are, and why; a foreign folder counts as one file."""

    reason: str
    files: int
    bytes: int


@dataclass(frozen=True, kw_only=True)
class CleanupPlan:
    """What a clean-up would move to the trash; empty when there is nothing to gain.

    `uploads` are unfinished ones in a store of objects, which are given up for good: they were never
    files.
    """

    table: TableName
    location: str
    table_uuid: str = field(repr=False)
    planned_at: dt.datetime
    older_than_s: float
    files: tuple[UnreferencedFile, ...]
    kept: tuple[Kept, ...]
    uploads: tuple[UnfinishedUpload, ...] = ()
    manifests_read: frozenset[str] = field(default=frozenset(), repr=False)

    @property
    def bytes(self) -> int:
        """Bytes that would move."""
        return sum(file.bytes for file in self.files)

    @property
    def by_kind(self) -> dict[str, tuple[int, int]]:
        """Files and bytes of each kind, largest first."""
        files: Counter[str] = Counter()
        sizes: Counter[str] = Counter()
        for file in self.files:
            files[file.kind] += 1
            sizes[file.kind] += file.bytes
        return {kind: (files[kind], size) for kind, size in sizes.most_common()}

    def __bool__(self) -> bool:
        return bool(self.files or self.uploads)


@dataclass(frozen=True, kw_only=True)
class CleanupResult:
    """What a clean-up moved to the trash; no run when it moved nothing.

    `left` are files of the plan that were needed, changed or gone when it was applied.
    """

    table: TableName
    run_id: str | None
    files: int
    bytes: int
    left: tuple[str, ...]
    elapsed_s: float
    uploads: int = 0


def plan_cleanup(
    table: LakeTable, *, older_than_s: float | None = None, now: dt.datetime | None = None
) -> CleanupPlan:
    """List the orphan files below the table's location that are old enough.

    A file is needed, and not listed, if it is named by
    - a snapshot in the metadata of any table of this catalog;
    - a metadata file that was current less than `older_than_s` ago: a reader may have pinned it;
    - a metadata file of a table that this catalog does not know, or of this table where it is newer
      than the version this catalog knows, or beside it;
    - a writer that still runs, however old the file is. Of the running writers of other engines only
      the age of their files is known.

    Only `data` and `metadata` below the location are searched, or the folders below it that the
    table's properties name, and there only names of data and metadata files. Links, hidden folders
    and folders of other tables are left alone.

    Reads all manifests of all snapshots once and changes nothing; the result is recorded for the
    table's health.

    Args:
        table: The table.
        older_than_s: Least age of a file; by default and at least the lake's `cleanup_age_hours`.
        now: The time ages are counted from, UTC; by default now.

    Raises:
        CleanupTooYoungError: If `older_than_s` is below the lake's limit.
        CleanupRefusedError: If it cannot be told which files are needed; the message says why.
        GarbageKeptError: If the table, or one that shares its folder, says `gc.enabled=false`.
        CorruptFileError: If a manifest or metadata file cannot be read.
        UnsupportedTableError: If its store is unknown, or it is of another format version.

    """
    now = now or table.lake.now()
    floor_s = table.lake.settings.cleanup_age_s
    age_s = floor_s if older_than_s is None else older_than_s
    _refuse_young(table, age_s)
    survey = _survey(table, older_than_s=age_s, now=now)
    plan = CleanupPlan(
        table=table.name,
        location=survey.listing.root,
        table_uuid=survey.uuid,
        planned_at=now,
        older_than_s=age_s,
        files=survey.files,
        kept=survey.kept,
        uploads=survey.uploads,
        manifests_read=frozenset(survey.read),
    )
    if age_s == floor_s:  # a longer age finds only a part
        _remember(table, now=now, files=len(plan.files), bytes=plan.bytes)
    return plan


def apply_cleanup(
    table: LakeTable, plan: CleanupPlan, *, now: dt.datetime | None = None
) -> CleanupResult:
    """Move the plan's files to the table's trash, from where `restore` brings them back.

    Unfinished uploads of the plan are given up for good.

    Checks again first, under the locks of all tables that share the folder: a file that a commit, a
    writer or another table has used since the plan stays. Commits of this host wait until it is
    done. Rows of writers that died are removed from the registry.

    If the process dies in between, some files are in the trash and the rest where they were; the
    next plan takes those.

    Raises:
        CleanupTooYoungError: If the plan's age is below the lake's limit.
        CleanupRefusedError: If the table is not the one the plan was made for, or see there.
        StorageError: If a file cannot be moved; those moved before can be restored.

    """
    started = time.monotonic()
    now = now or table.lake.now()
    _refuse_young(table, plan.older_than_s)
    with folder_lock(table):
        survey = _survey(
            table,
            older_than_s=plan.older_than_s,
            now=now,
            only=frozenset(file.path for file in plan.files),
            read=plan.manifests_read,
        )
        if (survey.uuid, survey.listing.root) != (plan.table_uuid, plan.location):
            raise CleanupRefusedError(
                str(table.name),
                "it was created again or moved since the plan",
                reason=CleanupReason.TABLE_RECREATED,
            )
        same = {(file.path, file.token) for file in survey.files}
        taken = [file for file in plan.files if (file.path, file.token) in same]
        run_id = None
        if taken:
            run_id = move_to_trash(
                survey.listing.store,
                root=survey.listing.root,
                files=[TrashedFile(path=file.path, bytes=file.bytes) for file in taken],
                table=str(table.name),
                moved_at=now,
            )
        given_up = give_up(survey.listing.store, plan.uploads, survey.uploads)
        intents.end(table.lake.registry, survey.dead_writes)
    _remember(table, now=now)
    moved = {file.path for file in taken}
    return CleanupResult(
        table=table.name,
        run_id=run_id,
        files=len(taken),
        bytes=sum(file.bytes for file in taken),
        left=tuple(file.path for file in plan.files if file.path not in moved),
        elapsed_s=time.monotonic() - started,
        uploads=given_up,
    )


def _remember(table: LakeTable, *, now: dt.datetime, files: int = 0, bytes: int = 0) -> None:
    orphans.remember(table, files=files, bytes=bytes, now_ms=round(now.timestamp() * 1000))


@dataclass(frozen=True, kw_only=True)
class _Survey:
    uuid: str
    listing: Listing
    files: tuple[UnreferencedFile, ...]
    kept: tuple[Kept, ...]
    uploads: tuple[UnfinishedUpload, ...]
    read: frozenset[str]
    dead_writes: frozenset[str]


def _survey(
    table: LakeTable,
    *,
    older_than_s: float,
    now: dt.datetime,
    only: Collection[str] | None = None,
    read: Collection[str] = (),
) -> _Survey:
    """Find orphan files, among all files or `only` some; manifests in `read` are not read again.

    The order matters: a writer announces itself, writes, commits and withdraws its announcement.
    Read in the same order, either the announcement or the commit is seen. Files that appear during
    the survey are young.
    """
    now_ns = int(now.timestamp() * _NS)
    cutoff_ns = now_ns - int(older_than_s * _NS)
    writes = intents.unfinished(table.lake.registry)
    (store, root), current = root_of(table), table.iceberg()
    tables = known_tables(table.lake.catalog, asked_for=str(table.name))
    folders = {each.name: each.folder(store) for each in tables}
    listing = list_files(
        store,
        root=root,
        table=str(table.name),
        properties=current.metadata.properties,
        others=[f for f in folders.values() if f and f != root and is_within(f, root)],
        only=only,
    )
    walk = Walk(
        table=str(table.name),
        listing=listing,
        io=current.io,
        expects_all=only is None,
        read=set(read),
    )
    near = [each for each in tables if _overlap(folders[each.name], root)]
    _refuse_shared(table, near)
    for each in near:
        mark_table(walk, each, cutoff_ns=cutoff_ns)
    mark_versions(walk, tables, cutoff_ns=cutoff_ns)
    suspects = _suspects(listing, writes, now_ns=now_ns, cutoff_ns=cutoff_ns)
    if (
        suspects.files
    ):  # reading every table of the catalog is for those that have something to lose
        for each in tables:
            if each not in near:
                walk.follow(each.io, each.metadata_location, is_current=True)
        left = set(listing)
        suspects.files = [f for f in suspects.files if f"{root}/{f.path}" in left]
    return _Survey(
        uuid=str(current.metadata.table_uuid),
        listing=listing,
        files=tuple(sorted(suspects.files, key=lambda file: file.path)),
        kept=(
            Kept(reason="referenced", files=walk.files, bytes=walk.bytes),
            suspects.in_flight,
            suspects.young,
            Kept(reason="foreign", files=listing.foreign_files, bytes=listing.foreign_bytes),
        ),
        uploads=unfinished_uploads(
            listing, writes, table=str(table.name), now_ns=now_ns, cutoff_ns=cutoff_ns
        ),
        read=frozenset(walk.read),
        dead_writes=writes.dead,
    )


@dataclass(kw_only=True)
class _Suspects:
    files: list[UnreferencedFile]
    in_flight: Kept
    young: Kept


def _suspects(
    listing: Listing, writes: intents.Intents, *, now_ns: int, cutoff_ns: int
) -> _Suspects:
    """Sort the remaining files: in flight, too young, or orphans."""
    files: list[UnreferencedFile] = []
    counts: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for path in listing:
        facts = listing.facts(path)
        if facts is None:  # a writer discarded it, or a commit pruned it
            continue
        if writes.protects(path.rpartition("/")[2]):
            reason = "in flight"
        elif facts.modified_ns > cutoff_ns:
            reason = "too young"
        else:
            files.append(
                UnreferencedFile(
                    path=path.removeprefix(f"{listing.root}/"),
                    bytes=facts.bytes,
                    age_s=(now_ns - facts.modified_ns) / _NS,
                    kind=listing.kind(path),
                    token=facts.token,
                )
            )
            continue
        counts[reason] += 1
        sizes[reason] += facts.bytes

    def kept(reason: str) -> Kept:
        return Kept(reason=reason, files=counts[reason], bytes=sizes[reason])

    return _Suspects(files=files, in_flight=kept("in flight"), young=kept("too young"))


def _refuse_young(table: LakeTable, age_s: float) -> None:
    settings = table.lake.settings
    if age_s < settings.cleanup_age_s:
        raise CleanupTooYoungError(
            str(table.name),
            asked_s=age_s,
            floor_s=settings.cleanup_age_s,
            setting=f"profiles.{settings.profile}.cleanup_age_hours",
        )


def _refuse_shared(table: LakeTable, near: Sequence[KnownTable]) -> None:
    for each in near:
        if not collects_garbage(each.metadata.properties):
            raise GarbageKeptError(each.name, refused=f"clean-up of `{table.name}`")


def _overlap(folder: str | None, root: str) -> bool:
    return folder is not None and (is_within(folder, root) or is_within(root, folder))
