"""The allow-list: what is not known to be read as Flink reads it is refused by name."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from headrace.errors import PaimonReason, PaimonUnsupportedError
from headrace.interop.paimon.facts import Changes, PaimonDefinition
from headrace.interop.paimon.rows import Shape, TakenAs
from headrace.interop.paimon.support import (
    ALLOWED,
    changes_of,
    refuse_state,
    refuse_unknown,
    refuse_unmerged,
)
from tests.interop.warehouses import users
from tests.raising import refused

VERSION = "2.1.0"


def definition(
    options: Mapping[str, str] | None = None,
    *,
    keys: tuple[str, ...] = ("id",),
    partition_keys: tuple[str, ...] = (),
    **types: str,
) -> PaimonDefinition:
    return PaimonDefinition(
        name="k.users",
        options=options or {},
        keys=keys,
        partition_keys=partition_keys,
        types={"id": "BIGINT NOT NULL"} | types,
        schema=pa.schema([pa.field("id", pa.int64())]),
    )


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"merge-engine": "first-row", "changelog-producer": "lookup"},
        {"sequence.field": "n", "bucket": "4", "file.format": "orc"},
        {"merge-engine": "aggregation", "fields.n.aggregate-function": "sum"},
        {
            "snapshot.num-retained.max": "9",
            "write-buffer-size": "1 mb",
            "tag.automatic-creation": "none",
        },
    ],
)
def test_what_is_on_the_list_is_read(options: Mapping[str, str]) -> None:
    refuse_unknown(definition(options, tags="ARRAY<STRING>"), version=VERSION)


@pytest.mark.parametrize(
    ("options", "reason", "option"),
    [
        ({"ignore-delete": "true"}, PaimonReason.OPTION, "ignore-delete"),
        (
            {"deletion-vectors.enabled": "true"},
            PaimonReason.UNMERGED_FILES,
            "deletion-vectors.enabled",
        ),
        ({"data-evolution.enabled": "true"}, PaimonReason.OPTION, "data-evolution.enabled"),
        ({"row-tracking.enabled": "true"}, PaimonReason.OPTION, "row-tracking.enabled"),
        (
            {"sequence.field.sort-order": "descending"},
            PaimonReason.OPTION,
            "sequence.field.sort-order",
        ),
        ({"merge-engine": "mine"}, PaimonReason.MERGE_ENGINE, "merge-engine"),
        (
            {"fields.n.aggregate-function": "collect"},
            PaimonReason.MERGE_ENGINE,
            "fields.n.aggregate-function",
        ),
        ({"file.format": "avro"}, PaimonReason.FILE_FORMAT, "file.format"),
        ({"changelog-producer": "input"}, PaimonReason.NO_CHANGELOG, "changelog-producer"),
        ({"bucket": "-2"}, PaimonReason.BUCKETS, "bucket"),
        ({"scan.snapshot-id": "3"}, PaimonReason.OPTION, "scan.snapshot-id"),
    ],
)
def test_what_is_not_on_the_list_is_refused_by_name(
    options: Mapping[str, str], reason: PaimonReason, option: str
) -> None:
    with refused(PaimonUnsupportedError, reason=reason, option=option):
        refuse_unknown(definition(options), version=VERSION)


@pytest.mark.parametrize(
    "kind", ["TIMESTAMP(9)", "MAP<STRING, INT>", "VARIANT", "ARRAY<ARRAY<INT>>"]
)
def test_a_column_that_cannot_be_taken_is_named(kind: str) -> None:
    with refused(PaimonUnsupportedError, reason=PaimonReason.COLUMN_TYPE, column="c"):
        refuse_unknown(definition(c=kind), version=VERSION)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("_row_kind", TakenAs.CHANGES),
        ("_source_offset", TakenAs.CHANGES),
        ("known_at", TakenAs.FEATURES),
        ("event_time", TakenAs.FEATURES),
    ],
)
def test_a_column_with_a_name_that_the_import_needs_is_refused(name: str, shape: TakenAs) -> None:
    table = definition()
    table = replace(table, schema=table.schema.append(pa.field(name, pa.string())))
    with refused(PaimonUnsupportedError, reason=PaimonReason.RESERVED_COLUMN, column=name):
        _ = Shape(taken_as=shape, definition=table).schema
    assert name in Shape(taken_as=TakenAs.STATE, definition=table).schema.names


def test_an_event_time_has_to_be_a_time_with_a_zone() -> None:
    with refused(PaimonUnsupportedError, reason=PaimonReason.COLUMN_TYPE, column="id"):
        _ = Shape(taken_as=TakenAs.FEATURES, definition=definition(), event_time="id").schema


def test_a_key_that_may_be_in_several_partitions_is_refused() -> None:
    table = definition(partition_keys=("dt",), dt="STRING")
    with refused(PaimonUnsupportedError, reason=PaimonReason.BUCKETS):
        refuse_unknown(table, version=VERSION)


def test_files_that_do_not_follow_an_option_are_refused(tmp_path: Path) -> None:
    from pypaimon.schema.schema_change import SchemaChange

    written = users(tmp_path)
    lookup = SchemaChange.set_option("changelog-producer", "lookup")
    written.catalog.alter_table(written.name, [lookup], False)
    written.put(1, name="a")  # all rows follow it
    assert changes_of(written.table().definition) is Changes.CHANGELOG
    vectors = SchemaChange.set_option("deletion-vectors.enabled", "true")
    snapshots = SchemaChange.set_option("snapshot.num-retained.max", "3")
    written.catalog.alter_table(written.name, [snapshots], False)
    assert written.table().definition.altered == ()
    without = SchemaChange.remove_option("changelog-producer")
    written.catalog.alter_table(written.name, [without], False)
    found = written.table().definition
    assert found.altered == ("changelog-producer",)
    refuse_unknown(found, version=VERSION)  # its state is what it is
    with refused(
        PaimonUnsupportedError, reason=PaimonReason.NO_CHANGELOG, option="changelog-producer"
    ):
        changes_of(found)
    was = SchemaChange.set_option("deletion-vectors.enabled", "false")
    for change in (vectors, was):
        written.catalog.alter_table(written.name, [change], False)
    with refused(
        PaimonUnsupportedError,
        reason=PaimonReason.UNMERGED_FILES,
        option="deletion-vectors.enabled",
    ):
        refuse_unknown(written.table().definition, version=VERSION)


def test_a_version_without_a_list_is_refused() -> None:
    with refused(PaimonUnsupportedError, reason=PaimonReason.CLIENT_VERSION):
        refuse_unknown(definition(), version="2.2.0")
    assert VERSION in ALLOWED


def test_changes_are_read_where_they_say_what_became_of_the_table() -> None:
    assert changes_of(definition(keys=())) is Changes.APPENDS
    assert changes_of(definition({"changelog-producer": "lookup"})) is Changes.CHANGELOG
    assert changes_of(definition()) is Changes.UPSERTS


@pytest.mark.parametrize("options", [{"sequence.field": "n"}, {"merge-engine": "partial-update"}])
def test_rows_that_a_merge_may_drop_are_no_changes(options: Mapping[str, str]) -> None:
    with refused(PaimonUnsupportedError, reason=PaimonReason.NO_CHANGELOG):
        changes_of(definition(options))


def test_rows_that_are_merged_by_groups_are_read_by_their_changes_alone() -> None:
    said = {"merge-engine": "partial-update", "fields.g.sequence-group": "a"}
    grouped = definition(said | {"changelog-producer": "lookup"})
    refuse_unknown(grouped, version=VERSION)
    assert changes_of(grouped) is Changes.CHANGELOG
    with refused(
        PaimonUnsupportedError,
        reason=PaimonReason.MERGE_ENGINE,
        option="fields.g.sequence-group",
    ):
        refuse_state(grouped)
    refuse_state(definition({"merge-engine": "partial-update"}))


def test_rows_that_only_a_compaction_shows_are_refused() -> None:
    first = definition({"merge-engine": "first-row"})
    refuse_unmerged(first, unmerged=0)
    refuse_unmerged(definition(), unmerged=3)
    with refused(PaimonUnsupportedError, reason=PaimonReason.UNMERGED_FILES):
        refuse_unmerged(first, unmerged=1)
