"""An upsert job of Flink on an Iceberg table, whose files headrace compacts and whose snapshots it expires meanwhile."""

import time
import uuid

import pyarrow as pa
import pytest

from headrace import clock
from headrace.api import Lake
from headrace.errors import FlinkRefusedError
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
from tests.raising import refused

pytestmark = [pytest.mark.flink, pytest.mark.timeout(600)]
ROWS, KEYS, PER_S = 15_000, 50, 300
UPSERTS = "'format-version' = '2', 'write.upsert.enabled' = 'true'"
WRITERS, GONE = 4, 5  # a key whose newest value is a multiple is deleted


def newest(rows: pa.Table) -> dict[int, int]:
    """Return the greatest value of each key."""
    pairs = zip(rows.column("id").to_pylist(), rows.column("v").to_pylist(), strict=True)
    return dict(sorted(pairs, key=lambda pair: pair[1]))


def left(rows: pa.Table) -> dict[int, int]:
    """Return what a table of which keys are deleted must have of all rows that were made."""
    return {key: value for key, value in newest(rows).items() if value % GONE}


def whole(table: LakeTable) -> dict[int, int]:
    """Read what is there; no key may be there twice."""
    rows = table.head().to_arrow()
    assert rows.num_rows == len(set(rows.column("id").to_pylist()))
    return newest(rows)


def test_a_job_goes_on_while_its_table_is_compacted_and_expired_to_one_snapshot(
    flink_lake: Lake, cluster: Cluster
) -> None:
    suffix = uuid.uuid4().hex[:8]
    kept, some, plain = (TableName("raw", f"{name}_{suffix}") for name in ("kept", "some", "plain"))
    access = FlinkAccess(
        uri=flink.JobManager().address(cluster), gateway_uri=flink.Gateway().address(cluster)
    )
    flink_lake.create(plain, pa.schema([pa.field("id", pa.int64()), pa.field("v", pa.int64())]))
    statements = (
        create_catalog(catalog_of(flink_lake.settings, stream="upserts")),
        (
            f"create table {named(str(kept))} (id bigint not null, v bigint, "
            f"primary key (id) not enforced) with ({UPSERTS})"
        ),
        (
            f"create table {named(str(some))} (id bigint not null, v bigint, "
            "primary key (id) not enforced) with ('format-version' = '2')"
        ),
        (
            "create temporary table made (id bigint not null, v bigint) with ('connector' = 'datagen', "
            f"'rows-per-second' = '{PER_S}', 'fields.id.min' = '0', 'fields.id.max' = '{KEYS - 1}', "
            f"'fields.v.kind' = 'sequence', 'fields.v.start' = '1', 'fields.v.end' = '{ROWS}')"
        ),
        (
            "execute statement set\nbegin\n"
            f"insert into {named(str(kept))} select id, max(v) from made group by id;\n"
            # each row of a key deletes it, adds it, or takes its place, dozens of times in a checkpoint
            f"insert into {named(str(some))} select id, max(v) from made group by id "
            f"having mod(max(v), {GONE}) <> 0;\n"
            f"insert into {named(str(plain))} select id, v from made;\nend"
        ),
    )
    properties = {**SESSION, "parallelism.default": str(WRITERS)}
    manager = JobManager(access)
    job = Gateway(access).submit(statements, properties=properties)
    table = flink_lake.table(kept)
    compacted = expired = 0
    end_s = time.monotonic() + 480
    while (state := manager.ask(f"/jobs/{job}")["state"]) != "FINISHED":
        assert state in {"INITIALIZING", "CREATED", "RUNNING"}
        assert time.monotonic() < end_s, state
        if table.head().snapshot_id is not None:
            compacted += bool(compact(table).commits)
            expired += len(expire(table, keep=1, before_ms=clock.now_ms()))
            whole(table)
        time.sleep(2)
    assert manager.ask(f"/jobs/{job}/exceptions")["exceptionHistory"]["entries"] == []
    tasks = manager.ask(f"/jobs/{job}")["vertices"]
    assert {WRITERS} == {each["parallelism"] for each in tasks if "StreamWriter" in each["name"]}
    assert compacted >= 3
    assert expired >= 3
    rows = flink_lake.table(plain).head().to_arrow()
    assert rows.num_rows == ROWS
    assert 0 < len(left(rows)) < KEYS
    for each, wanted in ((table, newest(rows)), (flink_lake.table(some), left(rows))):
        assert whole(each) == wanted
        compact(each)
        assert newest(each.iceberg().scan().to_arrow()) == wanted


def test_a_key_that_may_change_its_partition_is_refused(flink_lake: Lake, cluster: Cluster) -> None:
    """Its old row would stay for ever: an equality delete is of one partition."""
    access = FlinkAccess(
        uri=flink.JobManager().address(cluster), gateway_uri=flink.Gateway().address(cluster)
    )
    table = TableName("raw", f"moved_{uuid.uuid4().hex[:8]}")
    statements = (
        create_catalog(catalog_of(flink_lake.settings, stream="upserts")),
        f"create database if not exists {named('raw.x').rpartition('.')[0]}",
        (
            f"create table {named(str(table))} (id bigint not null, v bigint, "
            f"primary key (id) not enforced) partitioned by (v) with ({UPSERTS})"
        ),
        f"insert into {named(str(table))} values (1, 2)",
    )
    with refused(FlinkRefusedError) as error:
        Gateway(access).submit(statements, properties=SESSION)
    assert "partition field" in error.value.detail
    assert flink_lake.table(table).head().snapshot is None
