"""The dbt manifest of a lake: what the project declares, without building anything."""

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dbt.cli.main import dbtRunner
from dbt.contracts.graph.manifest import Manifest

from headrace.config import Settings
from headrace.errors import FeatureBuildError
from headrace.integrations.dbt_build import project_dir

_PARTS = ("models", "seeds", "macros", "tests", "dbt_packages")
_SUFFIXES = {".sql", ".csv", ".yml", ".yaml"}


def load_manifest(settings: Settings) -> dict[str, Any]:
    """Return the manifest of the lake's dbt project, parsed again only if one of its files changed.

    Reads and writes no table and needs no network; several processes may call it.

    Raises:
        FeatureBuildError: If the project cannot be parsed.
        SettingsError: If there is no dbt project.

    """
    project = project_dir(settings)
    path = settings.state_dir / "dbt" / "manifest.json"
    stamp = _stamp(project)
    if path.is_file():
        kept: dict[str, Any] = json.loads(path.read_text())
        if kept["stamp"] == stamp:
            return kept["manifest"]
    manifest = _parse(settings, project)
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}")  # threads of one process too
    draft.write_text(json.dumps({"stamp": stamp, "manifest": manifest}))
    draft.replace(path)
    return manifest


def last_manifest(settings: Settings) -> dict[str, Any] | None:
    """Return the manifest of the last parse that succeeded, even if files changed; None if none did."""
    path = settings.state_dir / "dbt" / "manifest.json"
    return json.loads(path.read_text())["manifest"] if path.is_file() else None


def _parse(settings: Settings, project: Path) -> dict[str, Any]:
    # the folder that builds use, so that a build reuses what is parsed here
    work = settings.state_dir / "dbt"
    arguments = ["parse", "--project-dir", str(project), "--profiles-dir", str(project)]
    arguments += ["--target", "local", "--target-path", str(work / "target")]
    arguments += ["--quiet", "--log-level", "none", "--log-level-file", "none"]
    arguments += ["--log-path", str(work / "logs")]
    ran = dbtRunner().invoke(arguments)
    if ran.exception is not None or not isinstance(ran.result, Manifest):
        raise FeatureBuildError((str(ran.exception or "dbt could not parse the project"),))
    return ran.result.writable_manifest().to_dict(omit_none=False)


def _stamp(project: Path) -> str:
    """Return a fingerprint of the project's files: their names, sizes and times."""
    seen = [f"{project}"]
    for file in _files(project):
        try:
            found = file.stat()
        except FileNotFoundError:  # an editor put another one in its place meanwhile
            continue
        seen.append(f"{file.relative_to(project)} {found.st_size} {found.st_mtime_ns}")
    return "\n".join(seen)


def _files(project: Path) -> Iterator[Path]:
    yield project / "dbt_project.yml"
    for part in _PARTS:
        folder = project / part
        yield from sorted(file for file in folder.rglob("*") if file.suffix in _SUFFIXES)
