"""`headrace tables delete`, on a real lake."""

import json

import pytest

from headrace.api import Lake
from tests.cli.test_tables import Headrace, headrace, many_files
from tests.tables.factories import ids_of

pytestmark = pytest.mark.slow

__all__ = ["headrace", "many_files"]  # fixtures


def test_without_apply_the_rows_are_counted_and_nothing_changes(
    many_files: Lake, headrace: Headrace
) -> None:
    table = many_files.table("raw.events")
    before = table.head().snapshot_id
    result = headrace("tables", "delete", "raw.events", "--where", "id in (1, 4)")
    assert result.exit_code == 0
    assert "2 rows match; 2 files dropped whole, 0 rewritten, 4 untouched" in result.stdout
    assert "add --apply" in result.stdout
    assert table.head().snapshot_id == before


def test_with_apply_they_are_deleted_and_the_snapshot_is_named(
    many_files: Lake, headrace: Headrace
) -> None:
    table = many_files.table("raw.events")
    where = ("--where", "id in (1, 4) or name like 'event 5%'")
    result = headrace("tables", "delete", "raw.events", *where, "--apply", "--output", "json")
    facts = json.loads(result.stdout)
    assert ids_of(table) == [0, 2, 3]
    assert (facts["rows"], facts["applied"]) == (3, True)
    assert facts["snapshot_after"] == str(table.head().snapshot_id)
    again = headrace("tables", "delete", "raw.events", *where, "--apply")
    assert again.exit_code == 0
    assert "no row matches" in again.stdout


def test_a_wrong_condition_exits_with_one_and_one_message(
    many_files: Lake, headrace: Headrace
) -> None:
    _ = many_files
    result = headrace("tables", "delete", "raw.events", "--where", "nope = 1", "--apply")
    assert result.exit_code == 1
    assert "no column `nope`; conditions may name id, name, tags, event_time" in result.stderr
    assert headrace("tables", "delete", "raw.events").exit_code == 2
