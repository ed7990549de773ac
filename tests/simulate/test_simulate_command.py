"""`headrace simulate` as a user runs it, and what ingest makes of its folder."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from headrace.api import Lake
from headrace.cli.main import make_app
from headrace.config import Settings
from headrace.definitions.load import load_streams
from headrace.ingest.dead_letters import TABLE
from headrace.ingest.run import ingest


def test_the_command_writes_a_folder_and_says_what_is_in_it(tmp_path: Path) -> None:
    command = ["simulate", str(tmp_path / "lake"), "--impressions", "400", "--days", "1"]
    result = CliRunner().invoke(make_app(), [*command, "--seed", "5", "--output", "json"])
    assert result.exit_code == 0, result.output
    rows = {row["stream"]: row for row in json.loads(result.stdout)}
    assert rows["impressions"]["distinct"] + rows["impressions"]["malformed"] == 400
    written = json.loads((tmp_path / "lake" / "truth" / "counts.json").read_text())
    assert written == {
        name: {key: value for key, value in row.items() if key != "stream"}
        for name, row in rows.items()
    }


def test_the_command_shows_people_a_table_and_the_next_step(tmp_path: Path) -> None:
    command = ["simulate", str(tmp_path / "lake"), "--impressions", "50", "--days", "1"]
    result = CliRunner().invoke(make_app(), command)
    assert result.exit_code == 0, result.output
    assert "user_state" in result.stdout
    assert "headrace ingest run" in result.stdout


@pytest.mark.parametrize(
    ("options", "code"),
    [(["--impressions", "0"], 2), (["--days", "1", "--files-per-stream", "90000"], 2)],
)
def test_wrong_sizes_are_wrong_usage(tmp_path: Path, options: list[str], code: int) -> None:
    result = CliRunner().invoke(make_app(), ["simulate", str(tmp_path / "lake"), *options])
    assert result.exit_code == code
    assert not (tmp_path / "lake").exists()


def test_a_used_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    result = CliRunner().invoke(make_app(), ["simulate", str(tmp_path)])
    assert result.exit_code == 1
    assert "folder-not-empty" in result.stderr


def test_ingest_takes_all_of_it_and_refuses_exactly_the_malformed(tmp_path: Path) -> None:
    folder = tmp_path / "lake"
    command = ["simulate", str(folder), "--impressions", "20000", "--files-per-stream", "3"]
    assert CliRunner().invoke(make_app(), command).exit_code == 0
    counts = json.loads((folder / "truth" / "counts.json").read_text())
    settings = Settings.load(env={}, path=folder / "lake" / "lake.toml")
    with Lake.open(settings) as lake:
        for name, stream in load_streams(settings).items():
            result = ingest(lake, stream)
            assert result.rows == counts[name]["distinct"] + counts[name]["duplicates"], name
            assert result.dead_letters == counts[name]["malformed"], name
        refused = lake.table(TABLE).head().to_arrow(columns=["stream", "_source", "_source_offset"])
    told = pq.read_table(folder / "truth" / "dead_letters.parquet")
    expected = zip(*(told.column(name).to_pylist() for name in told.column_names[:3]), strict=True)
    found = zip(*(refused.column(name).to_pylist() for name in refused.column_names), strict=True)
    assert sorted(found) == sorted(expected)
