"""A check that fails stops everything that would be computed from its table."""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headrace.api import Lake
from headrace.definitions.load import load_streams
from headrace.identifiers import TableName
from headrace.ingest.contract import contract_breaks
from headrace.ingest.recent import acknowledge
from headrace.tables.commits.operations import Provenance, append
from headrace.tables.writer import write_batches
from orchestration.lib.resource import LakeResource
from tests.ingest.factories import write_clicks
from tests.orchestration.conftest import use_lake

UTC_US = pa.timestamp("us", tz="UTC")
NOON = dt.datetime(2019, 11, 24, 12, tzinfo=dt.UTC)
MICROSECOND = dt.timedelta(microseconds=1)


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lake]:
    use_lake(monkeypatch, state_dir=tmp_path / "state")
    with Lake.open(LakeResource().settings()) as opened:
        yield opened


def run(
    graph: dg.Definitions, selection: dg.AssetSelection, *, retries: dg.RetryPolicy | None = None
) -> dg.ExecuteInProcessResult:
    job = dg.define_asset_job("part", selection=selection, op_retry_policy=retries)
    return (
        dg.Definitions.merge(graph, dg.Definitions(jobs=[job]))
        .resolve_job_def("part")
        .execute_in_process(
            raise_on_error=False,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )
    )


def failures(ran: dg.ExecuteInProcessResult) -> list[str]:
    """Say why steps failed, for the message of a test."""
    return [str(each.step_failure_data.error) for each in ran.all_events if each.is_step_failure]


def materialized(ran: dg.ExecuteInProcessResult) -> set[str]:
    events = ran.get_asset_materialization_events()
    return {event.asset_key.to_user_string() for event in events if event.asset_key}


def reported(ran: dg.ExecuteInProcessResult) -> dict[str, Mapping[str, Any]]:
    """Return the metadata of each asset that a run materialized."""
    found = (event.materialization for event in ran.get_asset_materialization_events())
    return {each.asset_key.to_user_string(): each.metadata for each in found}


def results(ran: dg.ExecuteInProcessResult) -> dict[str, bool]:
    return {found.check_name: found.passed for found in ran.get_asset_check_evaluations()}


def write_samples(lake: Lake, rows: Sequence[tuple[str, dt.datetime, dt.datetime]]) -> None:
    """Write samples of (id, time, known_at of the one feature row used)."""
    schema = pa.schema(
        [
            pa.field("sample_id", pa.string(), nullable=False),
            pa.field("event_time", UTC_US, nullable=False),
            pa.field("item_ctr__event_time", UTC_US),
            pa.field("item_ctr__known_at", UTC_US),
        ]
    )
    table = lake.create(TableName("samples", "ctr"), schema, partition_by=["day(event_time)"])
    columns = list(zip(*((i, t, t - dt.timedelta(hours=1), k) for i, t, k in rows), strict=True))
    batch = pa.RecordBatch.from_arrays(
        [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)],
        schema=schema,
    )
    append(table, write_batches(table, [batch]), provenance=Provenance())


def checks_of(*path: str) -> dg.AssetSelection:
    return dg.AssetSelection.checks_for_assets(dg.AssetKey(path))


def test_clean_samples_pass(graph: dg.Definitions, lake: Lake) -> None:
    write_samples(lake, [("a", NOON, NOON - MICROSECOND), ("b", NOON, NOON - MICROSECOND)])
    ran = run(graph, checks_of("samples", "ctr"))
    assert results(ran) == {"no_leaks": True, "unique_sample_ids": True}


def test_a_feature_known_at_the_sample_s_own_moment_is_a_leak(
    graph: dg.Definitions, lake: Lake
) -> None:
    write_samples(lake, [("a", NOON, NOON)])
    ran = run(graph, checks_of("samples", "ctr"))
    (failed,) = (each for each in ran.get_asset_check_evaluations() if not each.passed)
    assert failed.check_name == "no_leaks"
    assert (failed.metadata["leaking_samples"].value, failed.metadata["samples"].value) == (1, 1)
    assert "headrace samples inspect a" in (failed.description or "")


def test_an_id_on_two_days_is_a_duplicate(graph: dg.Definitions, lake: Lake) -> None:
    next_day = NOON + dt.timedelta(days=1)
    write_samples(lake, [("a", NOON, NOON - MICROSECOND), ("a", next_day, NOON)])
    assert results(run(graph, checks_of("samples", "ctr")))["unique_sample_ids"] is False


def test_too_many_dead_letters_stop_what_is_computed_from_the_stream(
    graph: dg.Definitions, lake: Lake
) -> None:
    write_clicks(lake.settings.data_dir, file="a", count=5)
    path = lake.settings.data_dir / "clicks" / "b.csv"
    path.write_text((path.parent / "a.csv").read_text().replace("2019-11-24T", "a day in "))
    keys = (dg.AssetKey(["raw", "clicks"]), dg.AssetKey(["maintenance", "raw_clicks"]))
    ran = run(graph, dg.AssetSelection.assets(*keys))
    assert results(ran)["dead_letters_are_few"] is False
    assert results(ran)["schema_matches_contract"] is True
    assert not ran.success
    assert materialized(ran) == {"raw/clicks", "dead_letters/records"}
    failed, late = (each for each in ran.get_asset_check_evaluations() if not each.passed)
    if late.check_name == "dead_letters_are_few":
        failed, late = late, failed
    # the history of this lake ends six days after these clicks
    assert (late.check_name, late.blocking) == ("watermark_is_recent", False)
    assert late.metadata["hours"].value == pytest.approx(7 * 24 - 10 + 1, abs=0.1)
    # what the contract allows records to be late is no lateness of the table
    assert late.metadata["hours_max"].value == 24 + 1
    assert late.metadata["page"].value == "http://127.0.0.1:8501/tables?table=raw.clicks"
    assert failed.metadata["dead_letters"].value == 5
    assert failed.metadata["rows"].value == 5
    # how many, why, from where, and what to do
    for said in ("5 of 10 records", "(5)", "`clicks/b.csv`", "headrace ingest acknowledge clicks"):
        assert said in (failed.description or "")
    acknowledge(lake, load_streams(lake.settings)["clicks"])
    assert results(run(graph, checks_of("raw", "clicks")))["dead_letters_are_few"] is True


def test_a_blocking_check_of_one_stream_stops_nothing_of_another(
    graph: dg.Definitions, lake: Lake
) -> None:
    data_dir = lake.settings.data_dir
    write_clicks(data_dir, file="a", count=5)
    refused = data_dir / "clicks" / "b.csv"
    refused.write_text((refused.parent / "a.csv").read_text().replace("2019-11-24T", "a day in "))
    schema = load_streams(lake.settings)["items"].fields
    listed = {
        name: pa.array([NOON if name == "listed_at" else _some(field.type.arrow)], field.type.arrow)
        for name, field in schema.items()
    }
    (data_dir / "items").mkdir()
    pq.write_table(pa.table(listed), data_dir / "items" / "a.parquet")
    keys = [["raw", "clicks"], ["raw", "items"], ["staging", "clicks"], ["staging", "items"]]
    keys.append(["features", "item_profile"])
    ran = run(graph, dg.AssetSelection.assets(*keys))
    assert not ran.success
    done = {"raw/clicks", "raw/items", "staging/items", "features/item_profile"}
    assert materialized(ran) == {*done, "dead_letters/records"}, failures(ran)
    profile = reported(ran)["features/item_profile"]
    assert profile["dagster/uri"].value == lake.table("features.item_profile").iceberg().location()
    traced = profile["dagster/column_lineage"].value.deps_by_column["brand"]
    assert [(each.asset_key.path, each.column_name) for each in traced] == [
        (["staging", "items"], "brand")
    ]
    described = {c.name: c.description for c in profile["dagster/column_schema"].schema.columns}
    assert described["brand"]
    # the commits of a run are found by its id
    for name in (*done, "dead_letters/records"):
        commits = lake.registry.commits(name.replace("/", "."))
        assert {commit.run_id for commit in commits} == {ran.run_id}
        assert reported(ran)[name]["run_id"].value == ran.run_id
    found = {
        (e.asset_key.path[1], e.check_name): e.passed for e in ran.get_asset_check_evaluations()
    }
    assert found[("clicks", "dead_letters_are_few")] is False
    assert found[("items", "dead_letters_are_few")] is True
    assert found[("items", "schema_matches_contract")] is True


def _some(type_: pa.DataType) -> object:
    return "x" if pa.types.is_string(type_) else 1


def test_a_run_whose_records_were_all_refused_fails_for_good(
    graph: dg.Definitions, lake: Lake
) -> None:
    write_clicks(lake.settings.data_dir, file="a", count=5)
    path = lake.settings.data_dir / "clicks" / "a.csv"
    path.write_text(path.read_text().replace("2019-11-24T", "a day in "))
    clicks = dg.AssetSelection.assets(dg.AssetKey(["raw", "clicks"])).without_checks()
    # a retry has nothing left to take, and would make a success of it
    ran = run(graph, clicks, retries=dg.RetryPolicy(max_retries=1))
    assert not ran.success
    assert ran.get_asset_materialization_events() == []
    (failed,) = ran.get_step_failure_events()
    failure = failed.step_failure_data.user_failure_data
    assert failure is not None
    assert failure.metadata["dead_letters"].value == 5
    reasons = [each.value for at, each in failure.metadata.items() if at.startswith("reason/")]
    assert reasons == [5]
    assert run(graph, clicks).success  # once, not for ever


def test_an_ingest_is_committed_under_the_run_that_asked_for_it(
    graph: dg.Definitions, lake: Lake
) -> None:
    write_clicks(lake.settings.data_dir, file="a")
    ran = run(graph, dg.AssetSelection.assets(dg.AssetKey(["raw", "clicks"])))
    assert {commit.run_id for commit in lake.registry.commits("raw.clicks")} == {ran.run_id}


def test_only_missing_and_narrower_columns_break_a_contract(lake: Lake) -> None:
    stream = load_streams(lake.settings)["clicks"]
    schema = stream.table_schema()
    assert contract_breaks(stream, schema) == []
    at = schema.get_field_index("position")
    wider = schema.set(at, pa.field("position", pa.int64())).append(pa.field("more", pa.string()))
    assert contract_breaks(stream, wider) == []
    assert contract_breaks(stream, schema.set(at, pa.field("position", pa.string()))) == [
        "position"
    ]
    assert contract_breaks(stream, schema.remove(at)) == ["position"]
