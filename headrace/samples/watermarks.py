"""Says how far a table is complete: by its own watermark, or by the least of its inputs'."""

import json

from headrace.definitions.properties import INPUTS, WATERMARK
from headrace.tables.history.ancestry import Ancestry
from headrace.tables.lake import LakeTable, OpenLake
from headrace.tables.version import TableVersion

_DEPTH_MAX = 16  # tables between a label and its stream


def watermark_us(lake: OpenLake, version: TableVersion) -> int | None:
    """Return the event time, in epoch µs, up to which a pinned snapshot is complete.

    A stream's commits record their watermark. A derived table is as complete as the least complete
    snapshot from which it was computed. None if that is not known, or no longer.
    """
    return _watermark(lake, str(version.name), version.snapshot_id, depth=0)


def source_tables(lake: OpenLake, version: TableVersion) -> frozenset[str]:
    """Return the tables at the start of a version's recorded lineage, or its own table."""
    return _sources(lake, str(version.name), version.snapshot_id, depth=0)


def _watermark(lake: OpenLake, name: str, snapshot_id: int | None, *, depth: int) -> int | None:
    if snapshot_id is None or depth > _DEPTH_MAX or not lake.exists(name):
        return None
    table = lake.table(name)
    own = _own_watermark(table, snapshot_id)
    if own is not None:
        return own
    inputs = _inputs(table, snapshot_id)
    found = [_watermark(lake, source, at, depth=depth + 1) for source, at in inputs.items()]
    known = [mark for mark in found if mark is not None]
    return min(known) if known and len(known) == len(found) else None


def _own_watermark(table: LakeTable, snapshot_id: int) -> int | None:
    """Find what the commits up to a snapshot said last; a compaction says nothing.

    A reset takes the watermark back, and those before it say nothing of the new rows. Of commits whose
    snapshots have expired the registry knows how they moved it.
    """
    metadata = table.iceberg().metadata
    history = Ancestry.of(table, metadata)
    at: int | None = snapshot_id
    while at is not None:
        snapshot = metadata.snapshot_by_id(at)
        said = snapshot.summary.additional_properties if snapshot and snapshot.summary else {}
        if WATERMARK in said:
            return int(said[WATERMARK])
        if snapshot is None and WATERMARK not in metadata.properties:
            break  # most tables never had one, and their history may be long
        commit = history.commit(at)
        moved = json.loads(commit.moves or "{}").get(WATERMARK) if commit else None
        if moved:
            return None if moved[1] is None else int(moved[1])
        at = None if commit is None else commit.parent_id
    head = metadata.current_snapshot()
    if head is not None and head.snapshot_id == snapshot_id and WATERMARK in metadata.properties:
        return int(metadata.properties[WATERMARK])
    return None


def _inputs(table: LakeTable, snapshot_id: int) -> dict[str, int]:
    """Find the inputs of a snapshot, skipping compactions."""
    metadata = table.iceberg().metadata
    at: int | None = snapshot_id
    while at is not None:
        snapshot = metadata.snapshot_by_id(at)
        record = table.lake.registry.commit(str(table.name), at)
        if snapshot is not None and snapshot.summary is not None:
            said = snapshot.summary.additional_properties
            if INPUTS in said:
                return json.loads(said[INPUTS])
            at = snapshot.parent_snapshot_id
        elif record is not None:
            if record.inputs:
                return dict(record.inputs)
            at = record.parent_id
        else:
            return {}
    return {}


def _sources(lake: OpenLake, name: str, snapshot_id: int | None, *, depth: int) -> frozenset[str]:
    if snapshot_id is None or depth > _DEPTH_MAX or not lake.exists(name):
        return frozenset({name})
    inputs = _inputs(lake.table(name), snapshot_id)
    found = [_sources(lake, source, at, depth=depth + 1) for source, at in inputs.items()]
    return frozenset[str]().union(*found) if found else frozenset({name})
