"""`headrace lake`, run as a user would on a lake with a published dataset version."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from click.testing import Result
from typer.testing import CliRunner

from headrace.api import Lake
from headrace.cli.failures import EXIT_FAILED
from headrace.cli.main import make_app
from headrace.config import Settings
from headrace.datasets.publish import publish
from headrace.datasets.versions import load_dataset
from headrace.samples.build import build
from tests.samples.factories import Shop, at, sample_set, settings_in

pytestmark = pytest.mark.slow

Run = Callable[..., Result]


@pytest.fixture
def original(tmp_path: Path) -> Settings:
    """A lake with a published version of samples."""
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
        publish(lake, sample_set())
    return settings


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a command on the lake, or on another state folder."""

    def invoke(*words: str, state: Path | None = None) -> Result:
        env = {"HEADRACE_LAKE": str(tmp_path / "lake" / "lake.toml")}
        if state is not None:
            env["HEADRACE_STATE_DIR"] = str(state)
        return CliRunner().invoke(make_app(), list(words), env=env)

    return invoke


@pytest.mark.parametrize("original_stays", [True, False])
def test_a_copied_lake_is_refused_then_relocated_with_its_dataset_versions(
    original: Settings, run: Run, tmp_path: Path, original_stays: bool
) -> None:
    copy = replace(original, state_dir=tmp_path / "copy")
    shutil.copytree(original.state_dir, copy.state_dir)
    if not original_stays:
        original.state_dir.rename(tmp_path / "away")
    refused = run("datasets", "verify", "taps", state=copy.state_dir)
    assert refused.exit_code == EXIT_FAILED
    assert "`headrace lake relocate`" in refused.stderr

    shown = run("lake", "relocate", "--output", "json", state=copy.state_dir)
    assert {row["to"] for row in json.loads(shown.stdout)} == {str(copy.warehouse)}
    assert run("tables", "list", state=copy.state_dir).exit_code == EXIT_FAILED  # only shown
    done = run("lake", "relocate", "--apply", state=copy.state_dir)
    assert done.exit_code == 0, done.output

    verified = run("datasets", "verify", "taps", state=copy.state_dir)
    assert verified.exit_code == 0, verified.output
    assert run("datasets", "rebuild", "taps", state=copy.state_dir).exit_code == 0
    with Lake.existing(copy) as lake:
        paths = [file.path for file in load_dataset(lake, "taps").files.files]
        assert paths
        assert all(path.startswith(f"{copy.warehouse}/") for path in paths)
        Shop.open(lake).show(("d", at(3, day=2), 1))
    again = run("lake", "relocate", "--apply", state=copy.state_dir)
    assert again.stdout.startswith("nothing to relocate")
    if original_stays:
        with Lake.existing(original) as lake:
            assert lake.table("shop.shown").head().row_count == 3


@pytest.mark.parametrize("lost", [("catalog.db",), ("registry.db",), ("catalog.db", "registry.db")])
def test_lost_databases_are_made_again_from_the_files(
    original: Settings, run: Run, lost: tuple[str, ...]
) -> None:
    with Lake.open(original) as lake:
        tables = {name: lake.table(name).iceberg().metadata_location for name in lake.names()}
        commits = {name: lake.registry.commits(str(name)) for name in tables}
        records = lake.registry.datasets()
    for name in lost:
        (original.state_dir / name).unlink()
    refused = run("tables", "list")
    assert refused.exit_code == EXIT_FAILED
    assert "`headrace lake recover`" in refused.stderr
    shown = run("lake", "recover")
    assert shown.exit_code == 0, shown.output
    assert not (original.state_dir / lost[0]).exists()

    done = run("lake", "recover", "--apply")
    assert done.exit_code == 0, done.output
    with Lake.existing(original) as lake:
        found = {name: lake.table(name).iceberg().metadata_location for name in lake.names()}
        assert found == tables
        assert {name: lake.registry.commits(str(name)) for name in tables} == commits
        assert lake.registry.datasets() == records
    assert run("datasets", "verify", "taps").exit_code == 0
    assert run("lake", "recover", "--apply").stdout.startswith("nothing to recover")


def test_a_lake_is_moved_to_another_profile_with_its_dataset_versions(
    original: Settings, run: Run, tmp_path: Path
) -> None:
    file = tmp_path / "lake" / "lake.toml"
    file.write_text(f'{file.read_text()}\n[profiles.other]\nstate_dir = "other"\n')
    shown = run("lake", "move", "--to", "other")
    assert shown.exit_code == 0, shown.output
    assert "--apply" in shown.stdout
    assert not (tmp_path / "other" / "catalog.db").exists()
    listed = json.loads(run("lake", "move", "--to", "other", "--output", "json").stdout)
    assert {row["table"] for row in listed} >= {"shop.shown", "samples.taps"}

    done = run("lake", "move", "--to", "other", "--apply")
    assert done.exit_code == 0, done.output
    assert run("lake", "move", "--to", "other", "--apply").stdout.startswith("nothing to move")
    shutil.rmtree(original.warehouse)  # nothing there is read any more
    file.write_text(file.read_text().replace('profile = "local"', 'profile = "other"', 1))
    for words in (("verify", "taps"), ("rebuild", "taps")):
        found = run("datasets", *words)
        assert found.exit_code == 0, found.output
