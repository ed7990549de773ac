"""Keyed tables as the lake knows them, without a job that writes them."""

import dataclasses
import json
from pathlib import Path

from headrace.api import Lake
from headrace.config import Settings
from headrace.definitions.properties import PAIMON
from headrace.flink.keyed_begin import KeyedBegin
from headrace.flink_access import FlinkAccess
from headrace.identifiers import TableName
from headrace.interop.paimon.table import PaimonTable
from headrace.tables.commits.operations import move_properties
from infra.launcher import flink
from infra.launcher.cluster import Cluster

# a table that keeps no snapshot itself, and leaves the expiry of them to others
SHORT = {
    "write-only": "true",
    "snapshot.time-retained": "0 ms",
    "snapshot.num-retained.min": "1",
}


def with_warehouse(settings: Settings, cluster: Cluster, folder: Path) -> Settings:
    """Return settings that name a Flink, and a warehouse in a folder."""
    access = FlinkAccess(
        uri=flink.JobManager().address(cluster), gateway_uri=flink.Gateway().address(cluster)
    )
    return dataclasses.replace(settings, flink=access, paimon_warehouse=f"file://{folder}")


def note_keyed(lake: Lake, table: TableName, keyed: PaimonTable) -> None:
    """Let a table of the lake be the one whose newest rows a Paimon table keeps."""
    begin = KeyedBegin(snapshot_id=0, logged_ms=0, created_ms=keyed.created_ms())
    move_properties(lake.table(table), lambda _: dict(begin.note(table=keyed.name)))


def note_taken(lake: Lake, table: TableName, *, snapshot_id: int) -> None:
    """Let a table that takes a Paimon table be at another snapshot of it."""
    head = lake.head_of(table)
    assert head is not None
    said = json.loads(head.properties[PAIMON]) | {"snapshot_id": snapshot_id}
    move_properties(lake.table(table), lambda _: {PAIMON: json.dumps(said)})
