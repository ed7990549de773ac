"""`headrace datasets`, run as a user would."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from click.testing import Result
from typer.testing import CliRunner

from headrace.api import Lake
from headrace.cli.main import make_app
from headrace.datasets.versions import lockfile_path
from headrace.samples.build import build
from tests.samples.factories import Shop, at, sample_set, settings_in

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A lake with one mature and one pending day of samples, and the command line on it."""
    settings = settings_in(tmp_path)
    declared = tmp_path / "lake" / "samples"
    declared.mkdir()
    text = yaml.safe_dump(sample_set().model_dump(mode="json", exclude_none=True))
    (declared / "taps.yaml").write_text(text)
    with Lake.open(settings) as lake:
        shop = Shop.open(lake)
        shop.show(("a", at(1), 1), ("b", at(2), 2), ("c", at(23, day=1), 1))
        shop.rate((1, at(0.5), at(0.5), 0.25))
        shop.tap(("a", at(1.5), at(1.5), 1), watermark=at(5, day=1))
        build(lake, sample_set())
    monkeypatch.setenv("HEADRACE_LAKE", str(tmp_path / "lake" / "lake.toml"))

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(make_app(), ["datasets", *arguments])

    return invoke


def test_a_version_is_published_listed_shown_verified_and_rebuilt(run: Run, tmp_path: Path) -> None:
    published = run("publish", "taps")
    assert published.exit_code == 0, published.output
    assert published.stdout.startswith("taps v1  2 rows  1 positive  hash ")
    assert "left out  2026-03-02 (labels still pending)" in published.stdout
    assert "taps-v1.lock.json" in published.stdout

    again = run("publish", "taps")
    assert "unchanged" in again.stdout

    listed = run("list")
    assert "taps" in listed.stdout
    shown = run("show", "taps", "v1")
    assert "shop.shown" in shown.stdout
    assert "verified: 1 files, 1 days" in run("verify", "taps", "v1").stdout
    rebuilt = run("rebuild", "taps")
    assert rebuilt.exit_code == 0
    assert rebuilt.stdout.endswith("taps v1  2 rows  reproduced\n")


def test_reads_speak_json(run: Run, tmp_path: Path) -> None:
    published = json.loads(run("publish", "taps", "--output", "json").stdout)
    assert (published["outcome"], published["rows"]) == ("published", 2)
    (listed,) = json.loads(run("list", "--output", "json").stdout)
    assert (listed["dataset"], listed["version"], listed["rows"]) == ("taps", 1, 2)
    lockfile = json.loads(Path(lockfile_path(settings_in(tmp_path), "taps", 1)).read_text())
    assert json.loads(run("show", "taps", "--output", "json").stdout) == lockfile
    verified = json.loads(run("verify", "taps", "1", "--output", "json").stdout)
    assert verified["content_hash"] == lockfile["content_hash"]
    rebuilt = json.loads(run("rebuild", "taps", "--output", "json").stdout)
    assert rebuilt["reproduced"] is True


def test_an_explicit_range_and_version_are_taken(run: Run) -> None:
    refused = run("publish", "taps", "--to", "2026-03-02")
    assert refused.exit_code == 1
    assert "publish-refused: `taps` was not published: labels of 2026-03-02" in refused.stderr
    taken = run("publish", "taps", "--from", "2026-03-01", "--to", "2026-03-01", "--version", "v3")
    assert taken.stdout.startswith("taps v3  2 rows")
    other = run("publish", "taps", "--allow-pending", "--version", "3")
    assert other.exit_code == 1
    assert "version-exists" in other.stderr


def test_a_changed_version_fails_with_what_to_do(run: Run, tmp_path: Path) -> None:
    run("publish", "taps")
    Path(lockfile_path(settings_in(tmp_path), "taps", 1)).unlink()
    failed = run("verify", "taps")
    assert failed.exit_code == 1
    assert "headrace datasets rebuild taps v1" in failed.stderr


def test_wrong_names_and_versions_are_named(run: Run) -> None:
    assert "declared: `taps`" in run("publish", "none").stderr
    assert run("publish", "none").exit_code == 1
    assert "published: none yet" in run("verify", "taps").stderr
    assert "v1" not in run("verify", "taps").stderr  # none was asked for
    assert "not a version" in run("show", "taps", "latest").stderr
