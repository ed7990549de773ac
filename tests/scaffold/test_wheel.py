"""The wheel alone, in an environment and a folder of its own: from `init` to batches of one's own CSV."""

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.slow

# one process for all commands after the first: each start imports the same libraries for seconds
STEPS = """
import json, os, sys
from pathlib import Path
from typer.testing import CliRunner
import headrace
from headrace.cli.main import make_app

def run(*command):
    done = CliRunner().invoke(make_app(), list(command))
    assert done.exit_code == 0, (command, done.output, done.exception)
    return done.output

log, clicks = Path("data/log"), Path("data/clicks")
log.mkdir(), clicks.mkdir()
(log / "march.csv").write_text("viewId;userId;itemId;viewedAt\\n" + "".join(
    f"v{n};{n % 3};{n % 5};2026-03-{1 + n // 10:02d} 1{n % 10}:00:00\\n" for n in range(40)))
(clicks / "march.csv").write_text("click_id,view_id,clicked_at\\n" + "".join(
    f"c{n},v{n},2026-03-{1 + n // 10:02d}T1{n % 10}:05:00Z\\n" for n in range(0, 40, 4)))
for name in ("log", "clicks"):
    run("streams", "infer", name, "--write")
Path("lake/samples/feed.yaml").write_text('''
samples: feed
table: samples.feed
exposures: {table: raw.log, id: view_id, entities: [user_id, item_id]}
features:
  - {view: features.user_views, columns: [views_7d]}
labels:
  - {name: click, stream: raw.clicks, window: 30m}
''')
models = Path("dbt_project/models")
for old in models.rglob("user_activity.*"):
    text = old.read_text().replace("impressions_7d", "views_7d")
    if old.suffix == ".sql":
        text = text.replace("'impressions', 'clicks'", "'views'").replace("clicked as clicks", "0 as c")
        text = text.replace("1 as impressions", "1 as views").replace("views_7d,\\n    clicks_7d", "views_7d")
        text = text.replace("'raw', 'impressions'", "'raw', 'log'")
    else:
        text = "".join(line for line in text.splitlines(True) if "clicks_7d" not in line)
    old.with_stem("user_views").write_text(text.replace("user_activity", "user_views"))
    old.unlink()
sources = models / "sources.yml"
sources.write_text(sources.read_text() + "      - name: log\\n")
outputs = {" ".join(command): run(*command) for command in (
    ("check",), ("ingest", "run"), ("features", "build"), ("features", "build", "--output", "json"),
    ("samples", "build", "feed"), ("datasets", "publish", "feed", "--allow-pending"))}
spec = headrace.FeatureSpec(dense=["views_7d"], sparse=["user_id"], label=["click"], key="sample_id")
with headrace.Lake.open() as lake:
    with headrace.SampleLoader(lake.dataset("feed"), spec=spec, batch_size=16) as loader:
        rows = [row for batch in loader for row in zip(
            batch.keys.to_pylist(), batch.dense[:, 0].tolist(), batch.labels[:, 0].tolist())]
import runpy
graph = runpy.run_path("definitions.py")["defs"]()
assets = sorted(spec.key.to_user_string() for spec in graph.resolve_all_asset_specs())
print(json.dumps({"at": headrace.__file__, "rows": sorted(rows), "assets": assets,
    "again": json.loads(outputs["features build --output json"])}))
"""
HOUR_S = 3600


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of an environment with the wheel, and beside it the libraries of this one."""
    environment = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    packages = sysconfig.get_paths(vars={"base": str(environment)})["purelib"]
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    # a path in a .pth file comes after the environment's own packages, and its .pth files are not read
    libraries = "\n".join(path for path in sys.path if path.endswith("site-packages"))
    Path(packages, "libraries.pth").write_text(f"{libraries}\n")
    return environment / "bin"


def _environment(home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE")}
    kept.pop("PYTHONPATH", None)
    return {**kept, "HOME": str(home)}


def test_a_wheel_has_the_shells_inside_of_the_one_package(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.partition("/")[0] for name in names} == {"headrace", "headrace-0.1.0.dist-info"}
    inside = {name.removeprefix("headrace/shells/") for name in names if "/shells/" in name}
    for file in (
        "ui/streamlit_app.py",
        "ui/.streamlit/config.toml",
        "ui/icon.svg",
        "orchestration/dagster.yaml",
        "dbt_project/macros/trailing_sums.sql",
        "new_lake/gitignore",
        "dg.toml",
    ):
        assert file in inside
    assert not [name for name in names if name.endswith((".pyc", ".db"))]


def test_a_lake_from_the_wheel_leads_from_ones_own_csv_to_batches(
    installed: Path, tmp_path: Path
) -> None:
    home, folder = tmp_path / "home", tmp_path / "a b ü"
    home.mkdir(mode=0o500)
    env, python = _environment(home), str(installed / "python")
    init = [python, "-c", "from headrace.cli.main import run; run()", "init", str(folder)]
    subprocess.run(init, cwd=tmp_path, env=env, check=True, stdin=subprocess.DEVNULL)
    done = subprocess.run(
        [python, "-c", STEPS], cwd=folder, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert Path(told["at"]).is_relative_to(installed.parent)
    assert told["rows"] == sorted(expected())
    assert "features/user_views" in told["assets"]
    assert "datasets/feed" in told["assets"]
    assert [model["outcome"] for model in told["again"]] == ["unchanged"]
    assert not list(home.iterdir())


def expected() -> Iterator[list[object]]:
    """What each view's user had seen in the week before, by whole hours, computed row by row."""
    views = [(n, n % 3, (n // 10) * 24 + 10 + n % 10) for n in range(40)]
    for n, user, hour in views:
        # a row of hour H has what happened before H, and is used by views after H
        at = max((h + 1 for _, u, h in views if u == user and h + 1 < hour), default=None)
        seen = 0.0 if at is None else float(sum(u == user and h < at for _, u, h in views))
        yield [f"v{n}", seen, float(n % 4 == 0)]
