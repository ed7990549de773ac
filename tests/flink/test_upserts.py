"""An upsert job of Flink on an Iceberg table, whose files headrace compacts and whose snapshots it expires meanwhile."""

import time
import uuid

import pyarrow as pa
import pytest

from headrace import clock
from headrace.api import Lake
from headrace.flink.client import Gateway, JobManager
from headrace.flink.places import catalog_of
from headrace.flink.session import SESSION
from headrace.flink.statements import create_catalog, named
from headrace.flink_access import FlinkAccess
from headrace.identifiers import TableName
from headrace.maintenance.compaction.compact import compact
from headrace.tables.commits.operations import expire
from headrace.tables.lake import LakeTable
from infra.launcher import flink
from infra.launcher.cluster import Cluster

pytestmark = [pytest.mark.flink, pytest.mark.timeout(600)]
ROWS, KEYS, PER_S = 12_000, 50, 300


def newest(rows: pa.Table) -> dict[int, int]:
    """Return the newest value of each key."""
    pairs = zip(rows.column("id").to_pylist(), rows.column("v").to_pylist(), strict=True)
    return dict(sorted(pairs, key=lambda pair: pair[1]))


def whole(table: LakeTable) -> dict[int, int]:
    """Read what is there; no key may be there twice."""
    rows = table.head().to_arrow()
    assert rows.num_rows == len(set(rows.column("id").to_pylist()))
    return newest(rows)


def test_a_job_goes_on_while_its_table_is_compacted_and_expired_to_one_snapshot(
    flink_lake: Lake, cluster: Cluster
) -> None:
    suffix = uuid.uuid4().hex[:8]
    kept, plain = (TableName("raw", f"{name}_{suffix}") for name in ("kept", "plain"))
    access = FlinkAccess(
        uri=flink.JobManager().address(cluster), gateway_uri=flink.Gateway().address(cluster)
    )
    upserts = "'format-version' = '2', 'write.upsert.enabled' = 'true'"
    flink_lake.create(plain, pa.schema([pa.field("id", pa.int64()), pa.field("v", pa.int64())]))
    statements = (
        create_catalog(catalog_of(flink_lake.settings, stream="upserts")),
        (
            f"create table {named(str(kept))} (id bigint not null, v bigint, "
            f"primary key (id) not enforced) with ({upserts})"
        ),
        (
            "create temporary table made (id bigint not null, v bigint) with ('connector' = 'datagen', "
            f"'rows-per-second' = '{PER_S}', 'fields.id.min' = '0', 'fields.id.max' = '{KEYS - 1}', "
            f"'fields.v.kind' = 'sequence', 'fields.v.start' = '1', 'fields.v.end' = '{ROWS}')"
        ),
        (
            "execute statement set\nbegin\n"
            f"insert into {named(str(kept))} select id, v from made;\n"
            f"insert into {named(str(plain))} select id, v from made;\nend"
        ),
    )
    properties = {**SESSION, "parallelism.default": "1"}
    manager = JobManager(access)
    job = Gateway(access).submit(statements, properties=properties)
    table = flink_lake.table(kept)
    compacted = expired = 0
    end_s = time.monotonic() + 240
    while (state := manager.ask(f"/jobs/{job}")["state"]) != "FINISHED":
        assert state in {"CREATED", "RUNNING"}
        assert time.monotonic() < end_s, state
        if table.head().snapshot_id is not None:
            compacted += bool(compact(table).commits)
            expired += len(expire(table, keep=1, before_ms=clock.now_ms()))
            whole(table)
        time.sleep(4)
    assert manager.ask(f"/jobs/{job}/exceptions")["exceptionHistory"]["entries"] == []
    assert compacted >= 3
    assert expired >= 3
    rows = flink_lake.table(plain).head().to_arrow()
    assert rows.num_rows == ROWS
    assert whole(table) == newest(rows)
    compact(table)
    assert newest(table.iceberg().scan().to_arrow()) == newest(rows)
