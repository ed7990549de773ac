"""`headrace tables preview`: values as they are, under the names that columns have."""

import json
from collections.abc import Callable

import pytest
from click.testing import Result
from typer.testing import CliRunner

from headrace.api import Lake
from headrace.cli.main import make_app
from tests.conftest import ROOT
from tests.tables.factories import add, events_table

pytestmark = pytest.mark.slow

BIG = 2**53 + 1


@pytest.fixture
def headrace(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setenv("HEADRACE_LAKE", str(ROOT / "lake" / "lake.toml"))
    monkeypatch.setenv("HEADRACE_STATE_DIR", str(lake.settings.state_dir))
    add(events_table(lake), [1, BIG, 3])
    add(events_table(lake), [4])
    return lambda *words: CliRunner().invoke(make_app(), ["tables", "preview", *words])


def test_rows_are_limited_and_ids_are_exact_and_no_amounts(
    headrace: Callable[..., Result],
) -> None:
    shown = headrace("raw.events", "--rows", "3", "--column", "id", "--column", "event_time")
    assert shown.exit_code == 0
    title, *rows = shown.stdout.splitlines()
    assert title.split() == ["id", "event_time"]
    ids = [row.split()[0] for row in rows]
    assert len(ids) == 3
    assert set(ids) < {"1", str(BIG), "3", "4"}  # which of two files is first is not said
    every = headrace("raw.events", "--column", "id").stdout.splitlines()[1:]
    assert sorted(row.strip() for row in every) == sorted(["1", str(BIG), "3", "4"])
    told = json.loads(headrace("raw.events", "--output", "json").stdout)
    assert len(told) == 4
    assert str(BIG) in [row["id"] for row in told]
    assert 1 in [row["id"] for row in told]


def test_an_older_snapshot_and_a_column_that_is_not_there(
    lake: Lake, headrace: Callable[..., Result]
) -> None:
    first = lake.registry.commits("raw.events")[-1].snapshot_id
    told = headrace("raw.events", "--at", str(first), "--output", "json")
    assert len(json.loads(told.stdout)) == 3
    wrong = headrace("raw.events", "--column", "event_tim")
    assert wrong.exit_code == 2
    assert "event_time" in wrong.stderr
