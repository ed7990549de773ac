"""What a changed contract would do is told before it is done, and is what then happens."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from headrace.api import Lake
from headrace.cli.main import make_app
from headrace.definitions.stream import Stream
from headrace.errors import ContractError
from headrace.ingest.decoding.decoded import Violation
from headrace.ingest.difference import Change, Difference, difference
from headrace.ingest.letters import Coordinates
from headrace.ingest.refusals import Refusal, Refusals
from headrace.ingest.replay import replay
from headrace.ingest.run import ingest
from tests.ingest.factories import FIELDS, json_line, make_stream
from tests.ingest.log_source import Entry, Log, LogSource

pytestmark = pytest.mark.slow

LINES = [
    json_line(id="a", n=1, code="7"),
    json_line(id="b", n=None, code="x"),
    json_line(id="c", n=2**40, code="9"),
    json_line(id="d", n="seven"),
    json_line(id="e", small=2**40),
    b"not json",
]
BEFORE = make_stream("json", more_fields={"code": {"type": "string"}})


def taken(lake: Lake, stream: Stream = BEFORE) -> None:
    entries = [Entry(at, line) for at, line in enumerate(LINES)]
    done = ingest(lake, stream, source=LogSource({0: Log(entries=entries, end=len(entries))}))
    assert (done.rows, done.dead_letters) == (3, 3)


def changed(**fields: dict[str, Any] | None) -> Stream:
    said = json.loads(BEFORE.model_dump_json(by_alias=True, exclude_none=True))
    said["fields"] |= {name: each for name, each in fields.items() if each is not None}
    said["fields"] = {
        name: each
        for name, each in said["fields"].items()
        if not (name in fields and fields[name] is None)
    }
    return Stream.model_validate(said)


def changes(found: Difference) -> dict[str, Change]:
    return {each.column: each.change for each in found.columns}


def test_a_contract_that_did_not_change_changes_nothing(lake: Lake) -> None:
    taken(lake)
    found = difference(lake, BEFORE)
    assert (changes(found), found.rows, found.refused_rows) == ({}, 3, ())
    assert (found.letters, sum(each.count for each in found.refused_letters)) == (3, 3)


def test_before_the_first_commit_every_column_is_created(lake: Lake) -> None:
    found = difference(lake, BEFORE)
    assert set(changes(found).values()) == {Change.CREATED}
    assert set(changes(found)) == set(BEFORE.table_schema().names)
    assert (found.snapshot_id, found.rows, found.letters) == (None, 0, 0)
    assert not lake.exists(BEFORE.table)


def test_what_a_commit_would_do_to_columns_is_what_it_does(lake: Lake) -> None:
    taken(lake)
    after = changed(new={"type": "string"}, small={"type": "long"}, flag=None)
    found = difference(lake, after)
    assert changes(found) == {
        "new": Change.ADDED,
        "small": Change.WIDENED,
        "flag": Change.UNDECLARED,
    }
    before = lake.table(BEFORE.table).iceberg().metadata.current_schema_id
    assert lake.table(BEFORE.table).iceberg().metadata.current_schema_id == before
    more = LogSource({0: Log(entries=[Entry(6, json_line(id="z"))], end=7)})
    assert ingest(lake, after, source=more).rows == 1
    assert changes(difference(lake, after)) == {"flag": Change.UNDECLARED}


@pytest.mark.parametrize(
    ("field", "declared", "reason"),
    [
        ("code", {"type": "long"}, "not-wider"),
        ("n", {"type": "long", "required": True}, "optional-to-required"),
        ("new", {"type": "string", "required": True}, "no-value-in-older-rows"),
        ("n", {"type": "int"}, "not-wider"),
    ],
)
def test_what_no_commit_can_do_is_told_by_its_reason(
    lake: Lake, field: str, declared: dict[str, Any], reason: str
) -> None:
    taken(lake)
    after = changed(**{field: declared})
    found = difference(lake, after)
    with pytest.raises(ContractError) as raised:
        ingest(lake, after, source=LogSource({0: Log(entries=[], end=6)}))
    assert (raised.value.reason, raised.value.column) == (reason, field)
    assert raised.value.remedy is not None  # of a stream, there is always something to do
    assert [(each.reason, each.column) for each in found.impossible] == [(reason, field)]


def test_committed_records_that_would_be_refused_are_counted_with_an_example(lake: Lake) -> None:
    taken(lake)
    after = changed(code={"type": "long"}, n={"type": "int", "required": True})
    found = difference(lake, after)
    assert {(each.code, each.field, each.count, each.example) for each in found.refused_rows} == {
        ("missing_required", "n", 1, Coordinates("things", 0, 1)),
        ("out_of_range", "n", 1, Coordinates("things", 0, 2)),
    }
    # and of a record only the first: `x` is no number either
    only = difference(lake, changed(code={"type": "long"}))
    assert [(each.code, each.field, each.count) for each in only.refused_rows] == [
        ("wrong_type", "code", 1)
    ]


def test_dead_letters_that_would_be_rows_are_those_that_a_replay_takes(lake: Lake) -> None:
    taken(lake)
    after = changed(small={"type": "long"})
    found = difference(lake, after)
    stay = sum(each.count for each in found.refused_letters)
    done = replay(lake, after)
    assert (found.letters, stay, done.rows) == (3, 2, 1)
    assert sum(done.refused.values()) == stay


def test_times_that_records_write_as_numbers_are_moments_in_the_table(lake: Lake) -> None:
    stream = make_stream(
        "json", fields=FIELDS | {"at": {"type": "timestamptz", "required": True, "unit": "s"}}
    )
    entries = [Entry(0, json_line(at=1_700_000_000, tags=...))]
    ingest(lake, stream, source=LogSource({0: Log(entries=entries, end=1)}))
    found = difference(lake, stream)
    assert (found.columns, found.rows, found.refused_rows) == ((), 1, ())


@pytest.mark.parametrize(("kind", "status"), [("string", 0), ("long", 1)])
def test_the_command_shows_the_same_and_fails_where_no_commit_can_follow(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str, status: int
) -> None:
    taken(lake)
    after = changed(code={"type": kind})
    (tmp_path / "streams").mkdir()
    (tmp_path / "lake.toml").write_text("[profiles.local]\n")
    said = json.loads(after.model_dump_json(by_alias=True, exclude_none=True))
    (tmp_path / "streams" / "things.yaml").write_text(yaml.safe_dump(said))
    monkeypatch.setenv("HEADRACE_LAKE", str(tmp_path / "lake.toml"))
    monkeypatch.setenv("HEADRACE_STATE_DIR", str(lake.settings.state_dir))
    done = CliRunner().invoke(make_app(), ["streams", "diff", "things", "--output", "json"])
    assert done.exit_code == status, done.output
    found = json.loads(done.output)
    assert (found["rows"], found["letters"]) == (3, 3)
    assert [each["change"] for each in found["columns"]] == ["impossible"] * status
    text = CliRunner().invoke(make_app(), ["streams", "diff", "things"])
    assert (text.exit_code, bool(text.output)) == (status, True)


def test_a_draft_is_compared_before_there_is_a_lake_and_makes_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "streams").mkdir()
    (tmp_path / "lake.toml").write_text("[profiles.local]\n")
    said = json.loads(changed().model_dump_json(by_alias=True, exclude_none=True))
    (tmp_path / "streams" / "things.yaml").write_text(yaml.safe_dump(said))
    monkeypatch.setenv("HEADRACE_LAKE", str(tmp_path / "lake.toml"))
    monkeypatch.setenv("HEADRACE_STATE_DIR", str(tmp_path / "state"))
    done = CliRunner().invoke(make_app(), ["streams", "diff", "things"])
    assert done.exit_code == 0, done.output
    first, *columns = done.stdout.splitlines()
    assert first == "raw.things is not there yet; the first commit creates it"
    assert "`id` created (string)" in columns
    assert not (tmp_path / "state").exists()


def test_the_example_of_a_refusal_does_not_depend_on_the_order_that_records_are_read_in() -> None:
    wrong = Violation(code="wrong_type", field="n", reason="it is no number")
    places = [Coordinates(f"{name}.jsonl", 0, 1) for name in "bac"]
    found: list[Refusal] = []
    for order in (places, places[::-1]):
        refusals = Refusals()
        for at in order:
            refusals.add(wrong, at)
        found += refusals.most_first()
    assert {(each.count, each.example) for each in found} == {(3, places[1])}
