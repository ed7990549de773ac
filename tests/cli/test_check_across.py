"""`headrace check` across files: what sample sets name, what contracts and tables say."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from headrace.cli.main import make_app
from headrace.scaffold.lake import apply_lake, plan_lake

SAMPLES, STREAM = Path("lake/samples/feed.yaml"), Path("lake/streams/impressions.yaml")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A new lake: a stream, a model and a sample set of both."""
    apply_lake(plan_lake(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def checked(*, status: int = 1) -> tuple[list[str], list[str]]:
    """The places and texts of all problems, and the warnings."""
    done = CliRunner().invoke(make_app(), ["check", "--output", "json"])
    assert done.exit_code == status, done.output
    told = json.loads(done.stdout)
    problems = [f"{each['file']}:{each['line']}  {each['message']}" for each in told["problems"]]
    return problems, [f"{each['file']}  {each['message']}" for each in told["warnings"]]


def headrace(*arguments: str) -> None:
    done = CliRunner().invoke(make_app(), list(arguments))
    assert done.exit_code == 0, done.output


# what is changed in the sample set, the line of it, and what the problem names
MISTAKES = {
    "exposure table": ("raw.impressions, id", "raw.impresions, id", 4, "`raw.impressions`"),
    "exposure id": ("id: impression_id", "id: impresion_id", 4, "`impression_id`"),
    "entity": ("entities: [user_id, item_id]", "entities: [user_id, item]", 4, "`item_id`"),
    "entity of a view": ("entities: [user_id, item_id]", "entities: [item_id]", 4, "`user_id`"),
    "view": ("features.user_activity", "features.user_activty", 6, "`features.user_activity`"),
    "view that is none": ("features.user_activity", "raw.impressions", 6, "feature_view"),
    "feature": ("impressions_7d, clicks_7d", "impressions_7d, click_7d", 6, "`clicks_7d`"),
    "label table": ("stream: raw.impressions", "stream: raw.clicks", 8, "`raw.impressions`"),
    "label key": ("stream: raw.impressions", "stream: features.user_activity", 8, "say by `key`"),
    "label value": ("value: clicked", "value: exist", 8, "`exist`"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_what_is_not_there_is_named_with_its_line_and_the_nearest_name(
    folder: Path, mistake: str
) -> None:
    old, new, line, named = MISTAKES[mistake]
    assert checked(status=0) == ([], [])
    change(folder / SAMPLES, old, new)
    problems, _ = checked()
    problem = next(each for each in problems if named in each)
    assert problem.startswith(f"{SAMPLES}:{line}  ")


@pytest.mark.slow
def test_a_contract_that_its_table_cannot_follow_is_a_problem_before_it_is_run(
    folder: Path,
) -> None:
    headrace("ingest", "run")
    assert checked(status=0) == ([], [])
    change(folder / STREAM, "clicked:       {type: int", "clicked:       {type: string")
    change(folder / STREAM, "  item_id:       {type: long, required: true}\n", "")
    problems, _ = checked()
    assert [each.partition("  ")[0] for each in problems] == [f"{STREAM}:13", f"{SAMPLES}:4"]
    assert "headrace ingest reset impressions" in problems[0]


def test_files_that_nothing_reads_are_a_warning(folder: Path) -> None:
    (folder / "lake" / "mix.yaml").write_text("stream: mix\n")
    (folder / "lake" / "streams" / "old").mkdir()
    (folder / "lake" / "streams" / "old" / "x.yml").write_text("stream: x\n")
    (folder / "lake" / "schemas.avsc").write_text("{}")
    problems, warnings = checked(status=0)
    assert problems == []
    assert len(warnings) == 2
    assert ["mix.yaml" in warnings[0], "x.yml" in warnings[1]] == [True, True]


def edit_sql(folder: Path) -> None:
    model = folder / "dbt_project" / "models" / "features" / "user_activity.sql"
    model.write_text('{{ config(schema="other", alias="named") }}\n' + model.read_text())


def move(folder: Path) -> None:
    project = folder / "dbt_project" / "dbt_project.yml"
    change(project, "      +schema: features", "      +schema: other")


@pytest.mark.parametrize(
    ("act", "name"), [(edit_sql, "other.named"), (move, "other.user_activity")]
)
def test_a_model_is_known_by_the_schema_and_name_that_it_has(
    folder: Path, act: Callable[[Path], None], name: str
) -> None:
    act(folder)
    problems, _ = checked()
    assert f"`{name}`" in problems[0]
    change(folder / SAMPLES, "features.user_activity", name)
    if act is move:
        assert checked(status=0) == ([], [])


def test_rows_of_a_window_view_are_a_table_that_samples_may_name(folder: Path) -> None:
    (folder / "lake" / "windows").mkdir()
    view = (
        "view: features.shown\nevents: raw.impressions\nentity: [item_id]\nhop: 5m\nlateness: 1h\n"
    )
    values = "aggregates: [{name: shown, take: count, windows: [1h]}]\n"
    (folder / "lake" / "windows" / "shown.yaml").write_text(view + values)
    use = "features.user_activity, columns: [impressions_7d, clicks_7d]"
    change(folder / SAMPLES, use, "features.shown_rows, columns: [shown_1h]")
    assert checked(status=0) == ([], [])
    change(folder / SAMPLES, "[shown_1h]", "[shown_2h]")
    problems, _ = checked()
    assert "did you mean `shown_1h`" in problems[0]


@pytest.mark.slow
def test_times_of_another_unit_are_doubted_by_ingestion_and_by_check(folder: Path) -> None:
    change(
        folder / STREAM,
        "shown_at:      {type: timestamptz,",
        "shown_at:      {type: timestamptz, unit: ms,",
    )
    data = folder / "data" / "impressions" / "example.csv"
    rows = "".join(f"i{n},{n},{n},{1_700_000_000 + n},0\n" for n in range(4))
    data.write_text("impression_id,user_id,item_id,shown_at,clicked\n" + rows)
    done = CliRunner().invoke(make_app(), ["ingest", "run"])
    assert "1970-01-20" in done.output and "`shown_at` may have another `unit`" in done.output
    _, warnings = checked(status=0)
    assert [each for each in warnings if str(STREAM) in each and "another `unit`" in each]
    headrace("ingest", "reset", "impressions", "--apply")
    change(folder / STREAM, "unit: ms", "unit: s")
    done = CliRunner().invoke(make_app(), ["ingest", "run"])
    assert "another `unit`" not in done.output
    assert checked(status=0) == ([], [])


@pytest.mark.slow
def test_what_records_brought_contradicts_no_contract(folder: Path) -> None:
    (folder / "lake/streams/things.yaml").write_text(
        "{stream: things, table: raw.things, source: {files: things/*, complete_files: true}, "
        "format: json, event_time: at, unknown_fields: evolve, "
        "fields: {at: {type: timestamptz, required: true}, n: {type: int}}}"
    )
    (folder / "data/things").mkdir()
    record = {"at": "2026-12-01T10:00:00Z", "n": 2**40, "colour": "red"}
    (folder / "data/things/a.jsonl").write_text(json.dumps(record) + "\n")
    headrace("ingest", "run", "things")
    label = "stream: raw.impressions, window: 1h, value: clicked"
    change(folder / SAMPLES, label, "stream: raw.things, window: 1h, value: colour, key: n")
    problems, _ = checked(status=0)
    assert problems == []
    said = CliRunner().invoke(make_app(), ["streams", "diff", "things"]).stdout
    assert "`n` is long by what records brought" in said
    assert "`colour` is string by what records brought" in said
    told = json.loads(
        CliRunner().invoke(make_app(), ["streams", "diff", "things", "--output", "json"]).stdout
    )
    assert told["evolved"] == {"n": "long", "colour": "string"}
