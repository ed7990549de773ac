"""A small dbt project of our macros and models a test writes itself, on a lake of its own."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from dbt.cli.main import dbtRunner
from dbt_common.events.base_types import EventMsg

from headrace.api import Lake
from headrace.identifiers import TableName
from headrace.integrations.dbt_duckdb import session
from headrace.tables.commits import operations
from headrace.tables.commits.operations import Provenance
from headrace.tables.writer import write_batches
from tests.quick_dbt import quick_dbt

__all__ = ["quick_dbt"]

_REPOSITORY = Path(__file__).resolve().parents[2]
_PROJECT = """
name: headrace
profile: headrace
flags: {send_anonymous_usage_stats: false}
models:
  headrace:
    +schema: out
    +contract: {alias_types: false}
"""
PACKAGE = Path("dbt_packages") / "other"
_SOURCES = """
sources:
  - name: raw
    tables: [{name: events}, {name: loose}]
"""


class Project:
    """Write models, run them, read their tables. `raw.events` is their input."""

    def __init__(self, folder: Path, lake: Lake) -> None:
        self.folder, self.lake = folder, lake
        self.package = (
            folder / PACKAGE
        )  # of other macros; dbt parses everything again for a new one

    def model(self, name: str, sql: str, yaml: str = "") -> None:
        """Write one model, in place of an earlier one of the name."""
        (self.folder / "models" / f"{name}.sql").write_text(sql)
        described = f"models:\n  - name: {name}\n{yaml}"
        (self.folder / "models" / f"{name}.yml").write_text(described)

    def events(self, *rows: dict[str, Any], table: str = "raw.events") -> None:
        """Append rows to the input."""
        handle = self.lake.table(table)
        data = pa.Table.from_pylist(list(rows), schema=handle.head().schema)
        files = write_batches(handle, data.to_batches())
        operations.append(handle, files, provenance=Provenance())

    def run(
        self,
        *arguments: str,
        verb: str = "run",
        on_event: Callable[[EventMsg], None] = lambda _: None,
    ) -> dict[str, str]:
        """Run all models, or another verb of dbt; what each node did, or how it failed."""
        folder = str(self.folder)
        common = ["--project-dir", folder, "--profiles-dir", folder, "--quiet"]
        common += ["--target-path", f"{folder}/target", "--log-path", f"{folder}/logs"]
        common += ["--log-level", "none", "--log-level-file", "none", "--no-write-json"]
        with session(self.lake.settings, run_id="test"):
            ran = dbtRunner(callbacks=[on_event]).invoke([verb, *common, *arguments])
        if ran.exception is not None:
            raise ran.exception
        return {
            found.node.name: found.adapter_response.get("code") or found.message
            for found in ran.result  # pyright: ignore
        }

    def rows(self, name: str) -> list[tuple[Any, ...]]:
        """Every row of `out.<name>`, sorted."""
        found = self.lake.table(f"out.{name}").head().to_arrow().to_pylist()
        return sorted((tuple(row.values()) for row in found), key=repr)


@pytest.fixture(scope="session")
def project_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all tests: what dbt parsed once it need not parse again."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copy(_REPOSITORY / "dbt_project" / "profiles.yml", folder)
    (folder / "dbt_project.yml").write_text(_PROJECT)
    package = folder / PACKAGE
    (package / "macros").mkdir(parents=True)
    (package / "dbt_project.yml").write_text("name: other\nconfig-version: 2\n")
    return folder


@pytest.fixture
def project(project_folder: Path, lake: Lake) -> Project:
    for name in ("macros", "models"):
        shutil.rmtree(project_folder / name, ignore_errors=True)
    shutil.copytree(_REPOSITORY / "dbt_project" / "macros", project_folder / "macros")
    (project_folder / "models").mkdir()
    (project_folder / "models" / "sources.yml").write_text(_SOURCES)
    schema = pa.schema(
        [
            ("id", pa.int64()),
            ("name", pa.string()),
            ("n", pa.int32()),
            ("event_time", pa.timestamp("us", tz="UTC")),
        ]
    )
    lake.create(TableName("raw", "events"), schema, partition_by=["day(event_time)"])
    lake.create(TableName("raw", "loose"), schema)
    return Project(project_folder, lake)
