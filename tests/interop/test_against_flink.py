"""Everything on the allow-list is read as Flink reads it: tables that Flink wrote, with what it read."""

import datetime as dt
import json
import tarfile
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from headrace.api import Lake
from headrace.errors import (
    PaimonReason,
    PaimonSnapshotsExpiredError,
    PaimonUnsupportedError,
)
from headrace.identifiers import TableName
from headrace.interop.paimon.client import PaimonWarehouse
from headrace.interop.paimon.rows import state_rows
from headrace.interop.paimon.support import ALLOWED, refuse_unknown
from headrace.interop.paimon.take import take_changes, take_state
from tests.interop.warehouses import refuses_repeats, rows_of
from tests.raising import refused

FLINK = Path(__file__).parent / "flink"
EXPECTED: dict[str, list[list[Any]]] = {
    said["name"]: said["rows"]
    for said in map(json.loads, (FLINK / "expected.jsonl").read_text().splitlines())
}
STATES = [name for name in EXPECTED if "@" in name]
CHANGES = [name.partition("#")[0] for name in EXPECTED if "#" in name]
RAW = TableName.parse("raw.taken")


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> PaimonWarehouse:
    folder = tmp_path_factory.mktemp("flink")
    with tarfile.open(FLINK / "tables.tar.xz") as packed:
        packed.extractall(folder, filter="data")
    return PaimonWarehouse(f"file://{folder}")


def as_flink_says(value: Any) -> Any:  # noqa: ANN401  (any value of a row)
    """Write a value as `RunSql.java` does."""
    if isinstance(value, dt.datetime):
        text = value.replace(tzinfo=None).isoformat(timespec="microseconds")
        text = text.removesuffix("000").removesuffix(".000")
        return text if value.tzinfo is None else f"{text}Z"
    if isinstance(value, dt.date | Decimal):
        return str(value)
    if isinstance(value, bytes):
        return value.hex()
    return [as_flink_says(part) for part in value] if isinstance(value, list) else value


def counted(rows: list[Any]) -> Counter[str]:
    return Counter(json.dumps(as_flink_says(list(row))) for row in rows)


@pytest.mark.parametrize("name", STATES)
def test_a_state_is_what_flink_reads(warehouse: PaimonWarehouse, name: str) -> None:
    table_name, _, at = name.partition("@")
    table = warehouse.table(f"k.{table_name}")
    refuse_unknown(table.definition, version=table.version)
    snapshots = {each.id: each for each in table.snapshots()}
    snapshot = snapshots[max(snapshots) if at == "head" else int(at)]
    rows = [
        tuple(row.values()) for batch in state_rows(table, snapshot) for row in batch.to_pylist()
    ]
    assert counted(rows) == counted(EXPECTED[name])


@pytest.mark.parametrize("name", [name for name in STATES if name.endswith("@head")])
def test_a_state_arrives_in_the_lake_as_flink_reads_it(
    lake: Lake, warehouse: PaimonWarehouse, name: str
) -> None:
    table = warehouse.table(f"k.{name.removesuffix('@head')}")
    take_state(lake, table, RAW)
    assert counted(rows_of(lake, str(RAW), *table.definition.schema.names)) == counted(
        EXPECTED[name]
    )


@pytest.mark.parametrize("name", CHANGES)
def test_changes_are_those_of_flink_and_make_the_table(
    lake: Lake, warehouse: PaimonWarehouse, name: str
) -> None:
    table = warehouse.table(f"k.{name}")
    take_changes(lake, table, RAW)
    columns = table.definition.schema.names
    assert counted(rows_of(lake, str(RAW), "_row_kind", *columns)) == counted(
        EXPECTED[f"{name}#changes"]
    )
    refuses_repeats(lake, str(RAW))
    state: dict[Any, tuple[Any, ...]] = {}
    for kind, key, *values in rows_of(lake, str(RAW), "_row_kind", *columns):
        if kind in ("+I", "+U"):
            state[key] = (key, *values)
        elif kind == "-D":
            del state[key]
    assert counted(list(state.values())) == counted(EXPECTED[f"{name}@head"])


def test_appends_of_partitions_and_of_an_older_schema_are_all_taken(
    lake: Lake, warehouse: PaimonWarehouse
) -> None:
    table = warehouse.table("k.clicks")
    take_changes(lake, table, RAW)
    assert counted(rows_of(lake, str(RAW), *table.definition.schema.names)) == counted(
        EXPECTED["clicks@head"]
    )


def test_a_tag_that_flink_made_is_read(lake: Lake, warehouse: PaimonWarehouse) -> None:
    table = warehouse.table("k.users")
    assert {name: each.id for name, each in table.tags().items()} == {"two": 4}
    take_state(lake, table, RAW, tag="two")
    assert counted(rows_of(lake, str(RAW), *table.definition.schema.names)) == counted(
        EXPECTED["users@4"]
    )


def test_the_state_after_an_expiry_by_flink_begins_an_import(
    lake: Lake, warehouse: PaimonWarehouse
) -> None:
    table = warehouse.table("k.short")
    assert table.snapshots()[0].id > 1
    take_changes(lake, table, RAW)
    state = {
        key: value
        for kind, key, value in rows_of(lake, str(RAW), "_row_kind", "id", "v")
        if kind in ("+I", "+U")
    }
    assert counted(list(state.items())) == counted(EXPECTED["short@head"])


def test_an_import_that_flink_s_expiry_overtook_is_a_named_stop(
    lake: Lake, warehouse: PaimonWarehouse
) -> None:
    from headrace.interop.paimon.facts import Changes
    from headrace.interop.paimon.plan import Begin, plan_import
    from headrace.interop.paimon.token import Token

    table = warehouse.table("k.short")
    first = table.snapshots()[0].id
    token = Token(
        table="k.short", taken_as="changes", snapshot_id=1, committed_at_ms=1, reached_ms=1
    )
    with refused(PaimonSnapshotsExpiredError, first_snapshot_id=2, last_snapshot_id=first - 1):
        plan_import(
            "k.short",
            table.snapshots(),
            target="raw.taken",
            token=token,
            created_ms=0,
            changes=Changes.CHANGELOG,
            begin=Begin.OLDEST,
            is_complete=lambda _: True,
        )


@pytest.mark.parametrize(
    ("name", "of_state", "of_changes"),
    [
        ("grouped", PaimonReason.MERGE_ENGINE, PaimonReason.NO_CHANGELOG),
        ("vectors", PaimonReason.UNMERGED_FILES, PaimonReason.UNMERGED_FILES),
    ],
)
def test_what_the_client_is_not_known_to_read_is_refused(
    lake: Lake,
    warehouse: PaimonWarehouse,
    name: str,
    of_state: PaimonReason,
    of_changes: PaimonReason,
) -> None:
    table = warehouse.table(f"k.{name}")
    for take, reason in ((take_state, of_state), (take_changes, of_changes)):
        with refused(PaimonUnsupportedError, reason=reason):
            take(lake, table, RAW)
    assert not lake.exists(RAW)


def test_a_table_that_flink_overwrote_has_a_state_and_no_changes(
    lake: Lake, warehouse: PaimonWarehouse
) -> None:
    table = warehouse.table("k.replaced")
    with refused(PaimonUnsupportedError, reason=PaimonReason.OVERWRITTEN):
        take_changes(lake, table, RAW)
    other = TableName.parse("raw.state")
    take_state(lake, table, other)
    assert rows_of(lake, str(other), "id", "v") == [(2, "b")]


def test_every_entry_of_the_allow_list_is_in_a_table_of_flink(warehouse: PaimonWarehouse) -> None:
    tables = [warehouse.table(f"k.{name.partition('@')[0]}").definition for name in STATES]
    said = ALLOWED[warehouse.version]
    for option, default, allowed in (
        ("merge-engine", "deduplicate", said.merge_engines),
        ("changelog-producer", "none", said.changelog_producers),
        ("file.format", "parquet", said.file_formats),
    ):
        assert {table.option(option, default) for table in tables} == allowed
    aggregates = {
        value
        for table in tables
        for name, value in table.options.items()
        if name.endswith(".aggregate-function")
    }
    assert aggregates == said.aggregates
