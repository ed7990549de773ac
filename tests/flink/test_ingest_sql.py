"""The SQL of a stream: one golden file, what holds for every contract, and what is refused by name."""

import dataclasses
import re
from typing import Any

import pytest
from pydantic import SecretStr

from headrace.config import Settings
from headrace.definitions.load import load_streams
from headrace.errors import FlinkCannotError, FlinkCannotReachError
from headrace.flink.ingest_sql import ingest_sql
from headrace.flink.places import HIDDEN, catalog_of, paimon_options
from headrace.ingest.sources.base import SourcePartition
from headrace.servers import S3Access
from tests.flink.contracts import EVERY_TYPE, PLACES, contract
from tests.golden.golden import Golden
from tests.raising import refused

STARTS = {SourcePartition("things", number): number * 10 for number in range(3)}


def text(**more: Any) -> str:  # noqa: ANN401  (of a contract)
    return ingest_sql(contract(**more), PLACES, starts=STARTS, group="g").text


def test_the_statements_of_a_contract_are_those_of_the_file(golden: Golden) -> None:
    sql = ingest_sql(contract(), PLACES.shown(), starts=STARTS, group="g")
    golden.check("flink-things.sql", sql.text)


def test_secrets_are_in_what_is_run_and_not_in_what_is_shown() -> None:
    shown = ingest_sql(contract(), PLACES.shown(), starts=STARTS, group="g").text
    assert "'tangerine'" in text()
    assert "tangerine" not in shown
    assert f"'{HIDDEN}'" in shown
    assert "tangerine" not in repr(PLACES)


def test_tables_that_flink_cannot_reach_are_no_fault_of_what_is_declared(
    settings: Settings,
) -> None:
    with refused(FlinkCannotReachError, subject="features.recent"):
        catalog_of(settings, stream="features.recent")


def test_the_catalog_is_reached_under_tls_where_headrace_is_told_so(settings: Settings) -> None:
    uri = "postgresql+psycopg://me:pw@db:6432/lake?sslmode=verify-full&sslrootcert=/etc/ca%2B1.pem"

    def options(uri: str) -> dict[str, str]:
        server = dataclasses.replace(settings, catalog="", catalog_server=SecretStr(uri))
        return catalog_of(server, stream="raw.things")

    assert options(uri)["uri"] == (
        "jdbc:postgresql://db:6432/lake?sslmode=verify-full&sslrootcert=%2Fetc%2Fca%2B1.pem"
    )
    assert options(uri.partition("?")[0])["uri"] == "jdbc:postgresql://db:6432/lake"
    with refused(FlinkCannotReachError, subject="raw.things"):
        options(f"{uri}&sslcert=/etc/me.pem&sslkey=/etc/me.key")


def test_paimon_deletes_no_markers_of_folders_on_s3(settings: Settings) -> None:
    """On a store that keeps files in folders it tried to for minutes, at each file."""
    access = S3Access(endpoint="http://127.0.0.1:1", region="us-east-1")
    found = dataclasses.replace(settings, paimon_warehouse="s3://lake/paimon", s3=access)
    assert paimon_options(found)["s3.directory.marker.retention"] == "keep"
    assert paimon_options(found)["s3.path.style.access"] == "true"


def test_no_record_is_dropped_by_an_option_and_none_is_said_that_flink_overrides() -> None:
    said = text()
    assert "ignore-parse-errors" not in said
    assert "auto.offset.reset" not in said
    assert "'properties.isolation.level' = 'read_committed'" in said


def test_a_count_of_nanoseconds_has_room_for_the_year_9999_and_flink_rounds_no_product() -> None:
    sql = text(fields=EVERY_TYPE | {"ns": {"type": "timestamptz", "unit": "ns"}})
    digits, places, factor = re.findall(r"`s_ns` as decimal\((\d+), (\d+)\)\) \* ([0-9.]+)", sql)[0]
    assert int(digits) - int(places) >= len("253402300799999999999")
    assert int(digits) + len(factor.replace(".", "")) <= 38


def test_every_partition_is_named_with_its_offset() -> None:
    (found,) = re.findall(r"'scan.startup.specific-offsets' = '([^']*)'", text())
    assert found == "partition:0,offset:0;partition:1,offset:10;partition:2,offset:20"


def test_the_namespace_raw_is_quoted_wherever_it_is_named() -> None:
    assert "`raw`.`things`" in text()
    assert not re.search(r"[^`.]\braw\.", text())


def test_the_plan_is_that_of_the_contract_and_not_of_offsets_addresses_or_groups() -> None:
    first = ingest_sql(contract(), PLACES, starts=STARTS, group="g")
    again = ingest_sql(contract(), PLACES.shown(), starts={}, group="h")
    assert first.plan == again.plan
    fields = EVERY_TYPE | {"more": {"type": "string"}}
    grown = ingest_sql(contract(fields=fields), PLACES, starts=STARTS, group="g")
    assert grown.plan != first.plan


@pytest.mark.parametrize(
    ("known_at", "value"),
    [
        ("ingested", "cast(current_row_timestamp() as timestamp_ltz(6))"),
        (
            {"after_event": "1500ms"},
            "timestampadd(second, 1, `v_at`) + interval '0.500' second(3)",
        ),
        ({"column": "seen_ms"}, "`v_seen_ms`"),
    ],
)
def test_known_at_is_what_the_contract_says(known_at: object, value: str) -> None:
    fields = EVERY_TYPE | {"seen_ms": {"type": "timestamptz", "unit": "ms", "required": True}}
    said = text(fields=fields, known_at=known_at)
    assert f"    {value} as `known_at`" in said


def test_a_tombstone_is_a_dead_letter_unless_the_topic_ignores_it() -> None:
    ignoring = {"kafka": {"topic": "things", "tombstones": "ignore"}}
    assert "refusal <> 'tombstone'" in text(source=ignoring)
    assert "refusal <> 'tombstone'" not in text()


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"fields": EVERY_TYPE | {"x": {"type": "timestamptz", "timezone": "UTC"}}}, "x"),
        ({"fields": EVERY_TYPE | {"x": {"type": "timestamptz", "time_format": "%Y%z"}}}, "x"),
        ({"fields": EVERY_TYPE | {"x": {"type": "list<double>"}}}, "x"),
        ({"fields": EVERY_TYPE | {"x": {"type": "string", "from": 'a"b'}}}, "x"),
        ({"fields": EVERY_TYPE | {"x": {"type": "string", "from": "$.user.id"}}}, "x"),
        ({"event_time": "ingested"}, None),
        ({"event_time": {"constant": "2026-01-01T00:00:00Z"}}, None),
        ({"unknown_fields": "dead_letter"}, None),
        ({"unknown_fields": "evolve"}, None),
        ({"source": {"kafka": {"topic": "things", "framing": "registry"}}}, None),
    ],
)
def test_what_sql_cannot_say_is_refused_with_the_field(
    more: dict[str, Any], field: str | None
) -> None:
    with refused(FlinkCannotError, stream="things", field=field):
        text(**more)


def test_the_streams_of_files_of_this_lake_are_refused_by_name(settings: Settings) -> None:
    for name, stream in load_streams(settings).items():
        with refused(FlinkCannotError, stream=name):
            ingest_sql(stream, PLACES, starts={}, group="g")
