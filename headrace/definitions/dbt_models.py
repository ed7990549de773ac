"""The models of a dbt project as its files say, without running dbt: their tables, columns and views."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from headrace.definitions.across import KnownTable

_CONFIGURED = re.compile(r"""\b(schema|alias)\s*=\s*['"](\w+)['"]""")
_DEFAULT_SCHEMA = "main"


def models_of(project: Path) -> dict[str, KnownTable]:
    """Return the table of each model. What a file does not say plainly is not known.

    Never raises: dbt reports what is wrong with a project.
    """
    said = _yaml(project / "dbt_project.yml")
    schemas = said.get("models", {})
    own = schemas.get(said.get("name"), {}) if isinstance(schemas, dict) else {}
    folders = said.get("model-paths") or ["models"]
    found: dict[str, KnownTable] = {}
    for folder in folders if isinstance(folders, list) else ():
        described = dict(_described(project / str(folder)))
        for path in sorted((project / str(folder)).rglob("*")):
            if path.suffix in {".sql", ".py"}:
                parts = path.relative_to(project / str(folder)).parts[:-1]
                found[_table(path, parts, own)] = described.get(path.stem, KnownTable())
    return found


def _table(path: Path, parts: tuple[str, ...], own: object) -> str:
    try:
        configured = dict(_CONFIGURED.findall(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError):
        configured = {}
    schema, at = _DEFAULT_SCHEMA, own
    for part in (None, *parts):
        at = at if part is None else at.get(part) if isinstance(at, dict) else None
        if isinstance(at, dict):
            schema = at.get("+schema") or at.get("schema") or schema
    name = configured.get("alias", path.stem)
    return f"{configured.get('schema', schema)}.{name}"


def _described(folder: Path) -> Iterator[tuple[str, KnownTable]]:
    for path in sorted(folder.rglob("*")):
        if path.suffix not in {".yml", ".yaml"}:
            continue
        models = _yaml(path).get("models")
        for model in models if isinstance(models, list) else ():
            if isinstance(model, dict) and isinstance(model.get("name"), str):
                yield model["name"], _known(model)


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
