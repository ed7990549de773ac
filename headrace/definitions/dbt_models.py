"""The models and seeds of a dbt project, without running dbt: their tables, columns and views.

dbt's manifest says exactly what each is called, also where a macro or a variable decides; it is read if dbt wrote it
after the last change of the project's files. Otherwise the files are read as far as they say it plainly.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from headrace.definitions.across import KnownTable

_CONFIGURED = re.compile(r"""\b(schema|alias)\s*=\s*['"](\w+)['"]""")
_DEFAULT_SCHEMA = "main"
_NOUNS = (("models", "model-paths", {".sql", ".py"}), ("seeds", "seed-paths", {".csv"}))
_SOURCES = frozenset({".sql", ".py", ".csv", ".yml", ".yaml"})


def models_of(project: Path, *, state_dir: Path | None = None) -> dict[str, KnownTable]:
    """Return the table of each model and seed. What is not said plainly is not known.

    Never raises: dbt reports what is wrong with a project.

    Args:
        project: Its folder.
        state_dir: That of the lake, where dbt leaves its manifest.

    """
    manifest = None if state_dir is None else _manifest(state_dir / "dbt" / "target", project)
    if manifest is not None:
        return dict(_of_manifest(manifest))
    said = _yaml(project / "dbt_project.yml")
    found: dict[str, KnownTable] = {}
    for noun, key, kinds in _NOUNS:
        settings = said.get(noun, {})
        own = settings.get(said.get("name"), {}) if isinstance(settings, dict) else {}
        folders = said.get(key) or [noun]
        for folder in folders if isinstance(folders, list) else ():
            described = dict(_described(project / str(folder), noun))
            for path in sorted((project / str(folder)).rglob("*")):
                if path.suffix in kinds:
                    parts = path.relative_to(project / str(folder)).parts[:-1]
                    model, config = described.get(path.stem, (KnownTable(), {}))
                    found[_table(path, parts, own, config)] = model
    return found


def _manifest(target: Path, project: Path) -> Mapping[str, Any] | None:
    """Read the manifest that dbt wrote last; None if a file of the project is newer, or it is none."""
    path = target / "manifest.json"
    try:
        written = path.stat().st_mtime_ns
        files = (each for each in project.rglob("*") if each.suffix in _SOURCES)
        if any(each.stat().st_mtime_ns > written for each in files):
            return None
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    of = found.get("metadata", {}).get("project_name") if isinstance(found, dict) else None
    return found if of == _yaml(project / "dbt_project.yml").get("name") else None


def _of_manifest(manifest: Mapping[str, Any]) -> Iterator[tuple[str, KnownTable]]:
    for node in manifest.get("nodes", {}).values():
        if node.get("resource_type") in {"model", "seed"}:
            columns = list((node.get("columns") or {}).values())
            said = {"config": node.get("config"), "columns": columns}
            known = _known(said) if node["resource_type"] == "model" else _seed(said)
            yield f"{node.get('schema')}.{node.get('alias') or node.get('name')}", known


def _table(path: Path, parts: tuple[str, ...], own: object, config: Mapping[str, Any]) -> str:
    configured = {name: str(config[name]) for name in ("schema", "alias") if config.get(name)}
    try:
        text = path.read_text(encoding="utf-8") if path.suffix == ".sql" else ""
        configured |= dict(_CONFIGURED.findall(text))
    except (OSError, UnicodeDecodeError):
        pass
    schema, at = _DEFAULT_SCHEMA, own
    for part in (None, *parts):
        at = at if part is None else at.get(part) if isinstance(at, dict) else None
        if isinstance(at, dict):
            schema = at.get("+schema") or at.get("schema") or schema
    name = configured.get("alias", path.stem)
    return f"{configured.get('schema', schema)}.{name}"


def _described(
    folder: Path, noun: str
) -> Iterator[tuple[str, tuple[KnownTable, Mapping[str, Any]]]]:
    for path in sorted(folder.rglob("*")):
        if path.suffix not in {".yml", ".yaml"}:
            continue
        models = _yaml(path).get(noun)
        for model in models if isinstance(models, list) else ():
            if isinstance(model, dict) and isinstance(model.get("name"), str):
                config = model.get("config")
                known = _known(model) if noun == "models" else _seed(model)
                yield model["name"], (known, config if isinstance(config, dict) else {})


def _seed(said: Mapping[str, Any]) -> KnownTable:
    """Return what the YAML of a seed says; which columns it has stands in its file."""
    return KnownTable(entity=_known(said).entity)


def _known(model: Mapping[str, Any]) -> KnownTable:
    config = model.get("config")
    meta = (config or {}).get("meta") if isinstance(config, dict) else model.get("meta")
    view = meta.get("headrace") if isinstance(meta, dict) else None
    entity = view.get("entity") if isinstance(view, dict) else None
    listed = isinstance(entity, list) and all(isinstance(each, str) for each in entity)
    columns = model.get("columns")
    named = (
        {str(each.get("name")) for each in columns or () if isinstance(each, dict)}
        if isinstance(columns, list)
        else set[str]()
    )
    return KnownTable(
        columns=frozenset(named) or None,
        entity=tuple(entity) if listed and entity else None,
    )


def _yaml(path: Path) -> Mapping[str, Any]:
    try:
        said = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return {}
    return said if isinstance(said, dict) else {}
