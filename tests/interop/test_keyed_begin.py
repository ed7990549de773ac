"""A job begins with a keyed table only where that table is the declared one and lacks or has no other rows."""

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from headrace.api import Lake
from headrace.config import Settings
from headrace.dml.delete import delete_where
from headrace.errors import (
    DatabaseUnavailableError,
    FlinkJobUnwellError,
    FollowedTableChangedError,
    NoCheckpointError,
    PaimonTableDiffersError,
    PaimonTableStaleError,
    TableNotFoundError,
)
from headrace.flink import keyed_job
from headrace.flink.health import CHANGED, REGISTRY, WIDENED
from headrace.flink.keyed_begin import (
    KeyedBegin,
    opened,
    refuse_made_again,
    refuse_unfit,
    removed_lately,
    removed_since,
)
from headrace.flink.keyed_job import ALTERED, BATCH, REMOVED, UNREADABLE, KeyedJob
from headrace.flink.keyed_sql import keyed_shape
from headrace.flink.recovery import restore
from headrace.flink.statements import JobSql
from headrace.flink_access import FlinkAccess
from headrace.ingest.owner import FLINK, Owner
from headrace.ingest.stream_tables import declared
from headrace.interop.paimon.client import PaimonWarehouse
from headrace.interop.paimon.shape import refuse_other_shape
from headrace.interop.paimon.table import PaimonTable
from headrace.maintenance.compaction.compact import compact
from headrace.registry import Registry
from headrace.tables.commits.operations import Provenance, append, expire, move_properties
from headrace.tables.lake import LakeTable
from headrace.tables.refs.rollback import apply_rollback, plan_rollback
from headrace.tables.writer import write_batches
from tests.flink.keyed import FIELDS, contract_of, records
from tests.flink.replies import answering
from tests.raising import refused

STREAM = contract_of("users")
SHAPE = keyed_shape(STREAM)
SUBJECT = "paimon:raw.users"


@pytest.fixture
def lake(settings: Settings, tmp_path: Path) -> Iterator[Lake]:
    """A lake with an empty Paimon warehouse, and the stream's table."""
    (tmp_path / "paimon").mkdir()
    warehouse = f"file://{tmp_path / 'paimon'}"
    with Lake.open(dataclasses.replace(settings, paimon_warehouse=warehouse)) as made:
        declared(made, STREAM)
        yield made


def add(lake: Lake, count: int = 3, *, seed: int = 1) -> int:
    """Append rows; return the snapshot."""
    table = lake.table(STREAM.table)
    rows = records(count, keys=2, seed=seed)
    batches = pa.Table.from_pylist(rows, STREAM.table_schema()).to_batches()
    return append(table, write_batches(table, batches), provenance=Provenance()).snapshot_id


def made(lake: Lake, **options: str) -> PaimonTable:
    """Create the Paimon table, empty."""
    warehouse = PaimonWarehouse.open(lake.settings)
    said = {**SHAPE.options, **options}
    return warehouse.create(
        warehouse.describe(SHAPE.name, SHAPE.schema, keys=SHAPE.keys, options=said)
    )


def filled(found: PaimonTable) -> PaimonTable:
    """Give a Paimon table a snapshot."""
    rows = pa.Table.from_pylist([{"id": "u0"}], found.definition.schema).to_batches()
    found.write(iter(rows), properties={}, replace=False)
    return found


def noted(lake: Lake, begin: KeyedBegin) -> None:
    note = begin.note(table=SHAPE.name)
    move_properties(lake.table(STREAM.table), lambda _: dict(note))


def begun(lake: Lake, snapshot_id: int, *, created_ms: int = 0) -> KeyedBegin:
    """Note that a job began with a snapshot, which is the newest, and return the note."""
    begin = KeyedBegin.of(table_of(lake).iceberg().metadata, created_ms=created_ms)
    assert begin.snapshot_id == snapshot_id
    noted(lake, begin)
    return begin


def lately(table: LakeTable, begin: KeyedBegin) -> str:
    return removed_lately(table.iceberg().metadata, begin)


def table_of(lake: Lake) -> LakeTable:
    return lake.table(STREAM.table)


def test_a_table_that_only_had_more_rows_lost_none(lake: Lake) -> None:
    begin = begun(lake, add(lake))
    add(lake, seed=2)
    compact(table_of(lake))
    for say in (removed_since, lately):
        assert say(table_of(lake), begin) == ""
    assert expire(table_of(lake), keep=1, before_ms=1 << 50)
    for say in (removed_since, lately):
        assert say(table_of(lake), begin) == ""


def test_history_that_is_not_on_record_is_not_taken_for_granted(lake: Lake) -> None:
    add(lake)
    now = begun(lake, add(lake, seed=2))
    begin = dataclasses.replace(now, snapshot_id=now.snapshot_id + 1)
    assert "not on record" in removed_since(table_of(lake), begin)


def test_rows_that_were_removed_are_named_also_once_their_snapshot_expired(lake: Lake) -> None:
    begin = begun(lake, add(lake))
    delete_where(table_of(lake), "small = 1 or small is null", provenance=Provenance())
    gone = table_of(lake).head().snapshot_id
    for each in range(3):
        add(lake, seed=each)
    for say in (removed_since, lately):
        assert f"snapshot {gone} of" in say(table_of(lake), begin)
    assert gone in expire(table_of(lake), keep=1, before_ms=1 << 50)
    assert f"snapshot {gone} of" in removed_since(table_of(lake), begin)


def test_rows_that_were_rolled_back_are_named(lake: Lake) -> None:
    first = add(lake)
    begin = begun(lake, add(lake, seed=2))
    apply_rollback(table_of(lake), plan_rollback(table_of(lake), first))
    for say in (removed_since, lately):
        assert "was rolled back" in say(table_of(lake), begin)


def test_a_table_of_another_declaration_is_named_by_each_difference(lake: Lake) -> None:
    add(lake)
    options = {"sequence.field": "at", "ignore-delete": "true", "snapshot.time-retained": "2 h"}
    found = made(lake, **options)
    with refused(PaimonTableDiffersError, table="raw.users") as error:
        refuse_unfit(found, SHAPE, subject=SUBJECT)
    said = "; ".join(error.value.differences)
    assert len(error.value.differences) == 2
    assert "`sequence.field` is `at`; declared is `at,from_known_at,from_source" in said
    assert "`ignore-delete` is `true`; declared is not there" in said
    assert error.value.remedy is not None
    assert error.value.remedy.line == f"headrace flink handover {SUBJECT} --to flink"


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"keys": ("small",)}, "primary key is `id`; declared is `small`"),
        ({"schema": SHAPE.schema.remove(4)}, "`single` is `FLOAT`; declared is not there"),
        ({"schema": SHAPE.schema.append(pa.field("x", pa.int32()))}, "`x` is not there"),
        ({"schema": SHAPE.schema.set(3, pa.field("large", pa.int32()))}, "`large` is `BIGINT`"),
        (
            {"schema": SHAPE.schema.set(3, pa.field("large", pa.int64(), nullable=False))},
            "`large` is `BIGINT`; declared is `int64 not null`",
        ),
    ],
)
def test_columns_and_keys_are_compared(lake: Lake, other: dict[str, Any], said: str) -> None:
    found, wanted = made(lake), dataclasses.replace(SHAPE, **other)
    with refused(PaimonTableDiffersError) as error:
        refuse_unfit(found, wanted, subject=SUBJECT)
    assert said in "; ".join(error.value.differences)


def test_columns_in_another_order_are_the_declared_ones(lake: Lake) -> None:
    wanted = dataclasses.replace(SHAPE, schema=pa.schema(list(SHAPE.schema)[::-1]))
    refuse_unfit(made(lake), wanted, subject=SUBJECT)


def test_a_job_begins_with_no_table_that_has_rows(lake: Lake) -> None:
    found = made(lake)
    refuse_unfit(found, SHAPE, subject=SUBJECT)
    filled(found)
    with refused(PaimonTableStaleError, table="raw.users"):
        refuse_unfit(found, SHAPE, subject=SUBJECT)


def test_rows_that_were_rolled_back_to_where_a_job_began_are_named(lake: Lake) -> None:
    begin = begun(lake, add(lake))
    add(lake, seed=2)
    apply_rollback(table_of(lake), plan_rollback(table_of(lake), begin.snapshot_id))
    assert "was rolled back" in lately(table_of(lake), begin)
    add(lake, seed=3)
    for say in (removed_since, lately):
        assert "was rolled back" in say(table_of(lake), begin)


def test_a_rollback_is_known_also_once_expiry_cut_the_log(lake: Lake) -> None:
    begin = begun(lake, add(lake))
    gone = add(lake, seed=2)
    apply_rollback(table_of(lake), plan_rollback(table_of(lake), begin.snapshot_id))
    for keep in (3, 1):
        for each in range(3):
            add(lake, seed=each)
        assert expire(table_of(lake), keep=keep, before_ms=1 << 50)
        for say in (removed_since, lately):
            assert f"was rolled back: snapshot {gone} is" in say(table_of(lake), begin)
    again = begun(lake, table_of(lake).head().snapshot_id or 0)
    add(lake, seed=4)
    assert expire(table_of(lake), keep=1, before_ms=1 << 50)
    assert removed_since(table_of(lake), again) == ""


def test_a_rollback_is_known_also_once_commits_let_it_expire(lake: Lake) -> None:
    begin = begun(lake, add(lake))
    gone = add(lake, seed=2)
    apply_rollback(table_of(lake), plan_rollback(table_of(lake), begin.snapshot_id))
    few = dataclasses.replace(lake.settings, snapshots_kept=2)
    with Lake.open(few) as other:
        for each in range(4):
            add(other, seed=each)
    assert all(each.snapshot_id != gone for each in table_of(lake).iceberg().metadata.snapshots)
    assert f"was rolled back: snapshot {gone} is" in removed_since(table_of(lake), begin)


def test_a_rollback_of_before_a_job_began_is_no_fault_of_it(lake: Lake) -> None:
    first = add(lake)
    add(lake, seed=2)
    apply_rollback(table_of(lake), plan_rollback(table_of(lake), first))
    begin = begun(lake, first)
    assert removed_since(table_of(lake), begin) == ""
    for each in range(3):
        add(lake, seed=each)
        assert removed_since(table_of(lake), begin) == ""
    assert expire(table_of(lake), keep=1, before_ms=1 << 50)
    assert removed_since(table_of(lake), begin) == ""
    newest = table_of(lake).head().snapshot_id
    assert newest is not None
    lost = add(lake, seed=5)
    apply_rollback(table_of(lake), plan_rollback(table_of(lake), newest))
    assert f"snapshot {lost} is" in removed_since(table_of(lake), begin)


def test_a_job_does_not_go_on_with_a_table_that_was_dropped(lake: Lake) -> None:
    begin = KeyedBegin(snapshot_id=1, logged_ms=0, created_ms=made(lake).created_ms())
    found = opened(PaimonWarehouse.open(lake.settings), SHAPE.name)
    refuse_made_again(found, begin, SHAPE.name, subject=SUBJECT)
    for other in (None, found):
        then = dataclasses.replace(begin, created_ms=begin.created_ms - 1)
        with refused(PaimonTableStaleError):
            refuse_made_again(other, then, SHAPE.name, subject=SUBJECT)


DROPPED = "it was dropped since its job began, and rows of before would be missing"
REPLIES: dict[str, list[tuple[int, Any]]] = {
    "GET /v3/info": [(200, {"productName": "Apache Flink"})],
    "GET /jobs/overview": [(200, {"jobs": []})],
    "POST /v3/sessions": [(200, {"sessionHandle": "s"})],
    "DELETE /v3/sessions/s": [(200, {})],
    "POST /v3/sessions/s/statements": [(200, {"operationHandle": "o"})],
    "GET /v3/sessions/s/operations/o/result/0?rowFormat=JSON": [(200, {"jobID": "c1"})],
}


RUNNING: dict[str, list[tuple[int, Any]]] = {
    "GET /jobs/c1/exceptions": [(200, {})],
    "GET /jobs/c1/checkpoints": [(200, {"latest": {"completed": {"id": 90}}})],
    "GET /jobs/c1": [(200, {"plan": {"nodes": []}, "vertices": []})],
    "GET /jobmanager/config": [(200, [])],
}


def starting(job: KeyedJob) -> list[tuple[int, Any]]:
    """Return what a JobManager says of a job that is submitted after it was asked twice."""
    runs = {"jid": "c1", "name": f"{job.family()}1", "state": "RUNNING", "start-time": 0}
    return [(200, {"jobs": []})] * 2 + [(200, {"jobs": [runs]})]


def test_a_job_is_judged_by_what_is_known_while_the_registry_is_away(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(KeyedJob, "sql", lambda *_, **__: JobSql(setup=(), insert="i", plan="p"))
    replies = REPLIES | RUNNING
    with answering(replies) as (address, _):
        job = KeyedJob(lake, STREAM, access=FlinkAccess(uri=address, gateway_uri=address))
        replies["GET /jobs/overview"] = starting(job)
        for each in range(4):
            add(lake, seed=each)
            if not each:
                made(lake)
                job.submit()
        assert expire(table_of(lake), keep=1, before_ms=1 << 50)
        health = job.check().health  # by what the registry has of those that expired
        assert health is not None
        monkeypatch.setattr(Registry, "line_to", _unavailable)
        judged = job.status().health
    assert judged is not None
    assert (judged.state, set(judged.faults)) == (health.state, {REGISTRY})
    assert "the server is gone" in judged.faults[REGISTRY]


def _unavailable(*_: object, **__: object) -> None:
    raise DatabaseUnavailableError("registry", "the server is gone")


def test_what_others_did_to_its_table_is_a_fault_of_a_job(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(KeyedJob, "sql", lambda *_, **__: JobSql(setup=(), insert="i", plan="p"))
    replies = REPLIES | RUNNING
    with answering(replies) as (address, _):
        job = KeyedJob(lake, STREAM, access=FlinkAccess(uri=address, gateway_uri=address))
        replies["GET /jobs/overview"] = starting(job)
        add(lake)
        found = made(lake)
        job.submit()
        assert faults_of(job) == {}
        filled(found)  # by a batch, as a `delete` is
        assert set(faults_of(job)) == {BATCH}
        altered(lake, **{"deletion-vectors.enabled": "true"})
        assert set(faults_of(job)) == {ALTERED}
        with refused(PaimonTableDiffersError, table=SHAPE.name):
            job.start(job.owner, job.sql(group=""), {})
        gone = dataclasses.replace(lake.settings, paimon_warehouse="file:///nowhere")
        with Lake.open(gone) as other:
            away = KeyedJob(other, STREAM, access=job.access)
            assert set(faults_of(away)) == {UNREADABLE}


def faults_of(job: KeyedJob) -> Mapping[str, str]:
    health = job.status().health
    assert health is not None
    return health.faults


def altered(lake: Lake, **options: str) -> None:
    """Change options of the Paimon table."""
    from pypaimon import CatalogFactory
    from pypaimon.schema.schema_change import SchemaChange

    folder = str(lake.settings.paimon_warehouse).removeprefix("file://")
    changes: list[SchemaChange] = [
        SchemaChange.set_option(name, value) for name, value in options.items()
    ]
    CatalogFactory.create({"warehouse": folder}).alter_table(SHAPE.name, changes, False)


def test_a_table_of_partitions_is_not_the_declared_one(lake: Lake) -> None:
    """A key whose partition changes would leave its old row behind: the key alone says where a row is."""
    found = dataclasses.replace(made(lake).definition, partition_keys=("day",))
    with refused(PaimonTableDiffersError) as error:
        refuse_other_shape(found, SHAPE, subject=SUBJECT)
    assert "primary key is `id`, partitioned by `day`" in "; ".join(error.value.differences)


def test_a_job_begins_with_the_newest_snapshot_and_is_judged_by_what_came_after(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(KeyedJob, "sql", lambda *_, **__: JobSql(setup=(), insert="i", plan="p"))
    replies = dict(REPLIES)
    with answering(replies) as (address, asked):
        job = KeyedJob(lake, STREAM, access=FlinkAccess(uri=address, gateway_uri=address))
        with refused(TableNotFoundError):
            job.submit()
        head, found = add(lake), made(lake)
        replies |= RUNNING | {"GET /jobs/overview": starting(job)}
        job.submit()
        assert job.begin == begun(lake, head, created_ms=found.created_ms())
        owner = job.owner
        assert (owner.by, owner.epoch, owner.jobs) == (FLINK, 1, ("c1",))
        health = job.check().health
        assert health is not None
        assert not health.faults  # an idle job commits nothing, and any order will do
        add(lake, seed=2)
        assert not (job.status().health or health).faults
        owner = job.owner
        job.set_owner(owner, Owner(epoch=2))  # as a program that obeys no owner sees the table
        delete_where(table_of(lake), "small = 1 or small is null", provenance=Provenance())
        job.set_owner(Owner(epoch=2), owner)
        judged = job.status().health
        assert judged is not None
        assert set(judged.faults) == {REMOVED}
        other = "s3://c/0ld/chk-41"
        with refused(NoCheckpointError, folder=other):
            job.start(owner, job.sql(group=""), {"execution.state-recovery.path": other})
        was = job.begin
        noted(lake, dataclasses.replace(was, created_ms=1))
        with refused(PaimonTableStaleError, detail=DROPPED):
            job.start(owner, job.sql(group=""), {})
        noted(lake, was)
        with refused(PaimonTableStaleError):
            found.write(
                iter(pa.Table.from_pylist([{"id": "u0"}], found.definition.schema).to_batches()),
                properties={},
                replace=False,
            )
            job.set_owner(owner, Owner(epoch=3))
            replies["GET /jobs/overview"] = [(200, {"jobs": []})]
            job.submit()
    assert ("POST /v3/sessions/s/statements", {"statement": "i"}) in asked


def test_a_column_that_became_wider_is_named_as_of_any_job_and_its_state_is_not_restored(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sql(job: KeyedJob, **_: object) -> JobSql:
        return JobSql(setup=(), insert="i", plan=str(job.stream.table_schema()))

    monkeypatch.setattr(KeyedJob, "sql", sql)
    replies = REPLIES | RUNNING
    with answering(replies) as (address, asked):
        job = KeyedJob(lake, STREAM, access=FlinkAccess(uri=address, gateway_uri=address))
        replies["GET /jobs/overview"] = starting(job)
        add(lake)
        filled(made(lake))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                keyed_job, "refuse_unfit", lambda *_, **__: None
            )  # its rows are the job's
            job.submit()
        for each in range(3):
            add(lake, seed=each)
        assert expire(table_of(lake), keep=1, before_ms=1 << 50)  # with what the job began with
        fields = {**FIELDS, "small": {"type": "long"}}
        job.stream = STREAM.model_validate({**STREAM.model_dump(), "fields": fields})
        job.shape = keyed_shape(job.stream)
        assert set(faults_of(job)) == {BATCH, CHANGED}  # of its contract, and of nobody else
        declared(lake, job.stream)
        with pytest.raises(FlinkJobUnwellError) as found:
            job.check()
        assert set(found.value.faults) == {BATCH, CHANGED, WIDENED}
        assert found.value.faults[WIDENED].startswith("`small` of `raw.users` is `long`")
        assert found.value.remedy is not None
        assert "drop table raw.users" in found.value.remedy.advice
        with refused(PaimonTableDiffersError, table=SHAPE.name):
            job.hand_over()
        replies["GET /jobs/overview"] = [(200, {"jobs": []})]
        with refused(FollowedTableChangedError, subject=SUBJECT) as error:
            restore(job)
        assert error.value.remedy == found.value.remedy
    assert not [path for path, _ in asked if path.startswith("PATCH")]
