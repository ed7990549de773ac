"""Commits and dataset versions that no run of this Dagster reported, as events of their assets."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import dagster as dg

from headrace.datasets.versions import list_datasets
from headrace.identifiers import TableName
from headrace.registry import CommitRecord
from headrace.tables.history.commit_log import facts_of
from headrace.tables.lake import LakeTable, OpenLake
from orchestration.lib.keys import dataset_key, table_key
from orchestration.lib.links import PAGE, page_of

SEQUENCE = "sequence_number"  # metadata: the place of a commit in its table's history
EVENTS_MAX = 100  # a tick; the next one goes on
_MAINTENANCE = "replace"  # the operation of commits that change no row
_GOING_ON = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
Event = dg.AssetMaterialization | dg.AssetObservation


@dataclass
class Cursor:
    """How far each table and dataset was reported.

    What it does not hold is read from the events themselves, so that a cursor that was reset repeats
    nothing.
    """

    tables: dict[str, int] = field(default_factory=dict[str, int])
    versions: dict[str, int] = field(default_factory=dict[str, int])

    @classmethod
    def parse(cls, text: str | None) -> "Cursor":
        """Read what `text` wrote."""
        return cls(**json.loads(text)) if text else cls()

    def text(self) -> str:
        """Write the cursor."""
        return json.dumps({"tables": self.tables, "versions": self.versions})


class Observer:
    """Finds what happened since a cursor, and moves the cursor."""

    def __init__(self, lake: OpenLake, instance: dg.DagsterInstance, cursor: Cursor) -> None:
        self._lake, self._instance, self._cursor = lake, instance, cursor
        self._left = EVENTS_MAX

    def commits(self, name: TableName) -> Iterator[Event]:
        """Yield a table's new commits in their order, each once.

        Of a table that was never reported only the newest commit is: old ones would look new.
        """
        table, key = self._lake.table(name), table_key(name)
        since = self._cursor.tables.get(str(name))
        if since is None:
            since = self._reported(key, SEQUENCE)
        for record in self._new(table, since):
            if self._left == 0:
                return
            run = self._instance.get_run_by_id(record.run_id) if record.run_id else None
            if run is not None and not run.is_finished:
                return  # its step reports the commit, or the next tick does
            if run is None or not self._told(run.run_id, key):
                self._left -= 1
                yield _event(key, record)
            self._cursor.tables[str(name)] = record.sequence_number

    def versions(self, name: str) -> Iterator[Event]:
        """Yield the versions of a dataset that were published elsewhere, oldest first."""
        key = dataset_key(name)
        if self._instance.get_runs_count(dg.RunsFilter(statuses=_GOING_ON)):
            return  # one of them may be about to report its version
        since = max(self._cursor.versions.get(name, 0), self._reported(key, "version") or 0)
        for lock in list_datasets(self._lake):
            if lock.name == name and lock.version > since and self._left:
                self._left -= 1
                self._cursor.versions[name] = lock.version
                yield dg.AssetMaterialization(
                    key,
                    description=f"`{name}` v{lock.version}, published outside of Dagster",
                    metadata={
                        "version": lock.version,
                        "dagster/row_count": lock.rows,
                        "content_hash": lock.content_hash,
                        "snapshot_id": str(lock.snapshot_id),
                        PAGE: dg.MetadataValue.url(page_of(key)),
                    },
                )

    def _new(self, table: LakeTable, since: int | None) -> list[CommitRecord]:
        """List the commits after a sequence number, oldest first, of other programs too."""
        live = list(_main_line(table, since))
        if since is None:
            return live[:1]
        name = str(table.name)
        known = self._lake.registry.commits_after(name, since, limit=EVENTS_MAX)
        found = {each.snapshot_id: each for each in (*live, *known)}
        return sorted(found.values(), key=lambda each: each.sequence_number)

    def _reported(self, key: dg.AssetKey, what: str) -> int | None:
        """Return the greatest such number in the newest events of an asset."""
        entries = (
            self._instance.get_latest_materialization_event(key),
            *(
                each.event_log_entry
                for each in self._instance.fetch_observations(key, limit=1).records
            ),
        )
        found: list[int] = []
        for entry in entries:
            event = (entry.asset_materialization or entry.asset_observation) if entry else None
            value = event.metadata[what].value if event and what in event.metadata else None
            found += [value] if isinstance(value, int) else []
        return max(found, default=None)

    def _told(self, run_id: str, key: dg.AssetKey) -> bool:
        """Whether a run that ended reported the asset; one that was killed may not have."""
        kinds = {
            dg.DagsterEventType.ASSET_MATERIALIZATION,
            dg.DagsterEventType.ASSET_OBSERVATION,
        }
        found = self._instance.get_records_for_run(run_id, of_type=kinds).records
        return any(
            each.event_log_entry.dagster_event is not None
            and each.event_log_entry.dagster_event.asset_key == key
            for each in found
        )


def _main_line(table: LakeTable, since: int | None) -> Iterable[CommitRecord]:
    """Yield the live commits of `main` after a sequence number, newest first."""
    metadata = table.iceberg().metadata
    snapshot = metadata.current_snapshot()
    while snapshot is not None and (snapshot.sequence_number or 0) > (since or 0):
        yield facts_of(table.name, snapshot)
        parent = snapshot.parent_snapshot_id
        snapshot = None if parent is None else metadata.snapshot_by_id(parent)


def _event(key: dg.AssetKey, record: CommitRecord) -> Event:
    """Report a commit: as new data, or as an observation if it changed no row."""
    kind = dg.AssetObservation if record.operation == _MAINTENANCE else dg.AssetMaterialization
    return kind(
        key,
        description=f"`{record.operation}` outside of Dagster",
        tags={"dagster/data_version": str(record.snapshot_id)},
        metadata={
            SEQUENCE: record.sequence_number,
            "snapshot_id": str(record.snapshot_id),
            "parent_snapshot_id": str(record.parent_id),
            "operation": record.operation,
            "committed_at": dg.MetadataValue.timestamp(record.committed_at_ms / 1000),
            "run_id": record.run_id,
            "rows_added": record.rows_added,
            "rows_removed": record.rows_removed,
            "files_added": record.files_added,
            "files_removed": record.files_removed,
            PAGE: dg.MetadataValue.url(page_of(key)),
        },
    )
