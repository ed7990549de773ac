"""Read published dataset versions from their lockfiles, for the page of that name."""

import json
from collections.abc import Iterator, Mapping, Sequence

from headrace.datasets.lockfile import Lockfile
from headrace.datasets.verify import verified_at
from headrace.ingest import watermark
from headrace.registry import Measure
from headrace.samples.column_sources import ColumnSource, column_sources
from headrace.samples.resolve import Recipe
from ui.facts import DayFacts, LabelRows, PinFacts, VersionFacts

__all__ = ["flattened", "sources_in", "version_facts"]


def version_facts(lock: Lockfile, measures: Mapping[str, Mapping[str, Measure]]) -> VersionFacts:
    """Read one version; `measures` of the registry say when it was verified."""
    labels = tuple(dict.fromkeys(count.label for count in lock.labels))
    roles = _roles(lock)
    return VersionFacts(
        name=lock.name,
        version=lock.version,
        table=lock.table,
        snapshot_id=lock.snapshot_id,
        first_day=lock.first_day,
        last_day=lock.last_day,
        filter_labels=lock.filter_labels,
        left_out=lock.left_out,
        rows=lock.rows,
        positives=lock.positives,
        content_hash=lock.content_hash,
        code=lock.code,
        created_at=lock.created_at,
        verified_at=verified_at(measures, lock.name, lock.version),
        watermarks={table: watermark.as_time(us) for table, us in lock.watermarks.items()},
        labels=tuple(
            LabelRows(label=each.label, state=each.state, value=each.value, rows=each.rows)
            for each in lock.labels
        ),
        days=tuple(
            DayFacts(
                day=day.day,
                rows=day.rows,
                content_hash=day.content_hash,
                inputs=dict(day.inputs),
                watermarks={table: watermark.as_time(us) for table, us in day.watermarks.items()},
            )
            for day in lock.days
        ),
        pins=tuple(
            PinFacts(table=pin.table, snapshot_id=pin.snapshot_id, tag=pin.tag) for pin in lock.pins
        ),
        dense=tuple(name for name, role in roles.items() if role == "dense"),
        sparse=tuple(name for name, role in roles.items() if role == "sparse"),
        sequence=tuple(name for name, role in roles.items() if role == "sequence"),
        label_names=labels,
        columns=dict(lock.columns),
        sources=sources_in(json.dumps(lock.definition)),
        definition=dict(flattened(lock.definition)),
        profiles=lock.profiles,
    )


def sources_in(recipe: str) -> tuple[ColumnSource, ...]:
    """Read where the columns of samples come from; nothing of a recipe of another format."""
    found = _recipe(recipe)
    return () if found is None else column_sources(found)


def _recipe(text: str) -> Recipe | None:
    try:
        return Recipe.from_json(text)
    except (KeyError, TypeError, ValueError):
        return None  # written by a version of headrace with another recipe format


def flattened(value: object, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield what a definition says at each path; entries of lists go by their name, if they have one."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from flattened(each, f"{path}.{key}" if path else str(key))
    elif isinstance(value, Sequence) and value and all(isinstance(x, Mapping) for x in value):
        for at, each in enumerate(value):
            named = each.get("name", each.get("view", at)) if isinstance(each, Mapping) else at
            yield from flattened(each, f"{path}.{named}")
    else:
        yield path, json.dumps(value) if not isinstance(value, str) else value


def _roles(lock: Lockfile) -> dict[str, str]:
    """Suggest the model input role of each column: counts and rates are dense, ids are sparse.

    Only entity keys and feature columns get a role. Other exposure columns, such as the logging
    policy's probability, describe how the exposure came about and do not exist at serving time.
    """
    recipe = _recipe(json.dumps(lock.definition))
    if recipe is None:
        return {}
    features = [name for feature in recipe.features for _, name in feature.columns]
    roles: dict[str, str] = {}
    for name in (*recipe.entities, *features):
        kind = lock.columns.get(name, "")
        if kind.startswith("list"):
            roles[name] = "sequence"
        elif kind.startswith(("float", "decimal")) or (kind == "int" and name in features):
            roles[name] = "dense"
        elif kind in ("int", "string"):
            roles[name] = "sparse"
    return roles
