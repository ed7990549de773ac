"""What the asset graph is made of: the declarations that can be used, and an asset for each other.

One wrong file must not hide the other pipelines, so nothing here raises for the contents of a file.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import dagster as dg

from headrace.config import Settings
from headrace.definitions.dbt_project import find_project
from headrace.definitions.load import Declarations, inspect_declarations
from headrace.definitions.sample_set import SampleSet
from headrace.definitions.stream import Stream
from headrace.definitions.window_rows import WindowRows
from headrace.definitions.windows import Windows, resolve_windows
from headrace.errors import FeatureBuildError, SettingsError
from headrace.identifiers import TableName
from headrace.ingest.dead_letters import TABLE
from headrace.integrations.dbt_manifest import last_manifest, load_manifest
from orchestration.lib.days import days_of
from orchestration.lib.dbt import model_tables
from orchestration.lib.keys import ONLINE_STORE, compaction_key, dataset_key, model_key, table_key
from orchestration.lib.section import Section, read_section

_DBT = dg.AssetKey(["declarations", "dbt_project"])


@dataclass(frozen=True, kw_only=True)
class Broken:
    """An asset in place of declarations that cannot be used."""

    key: dg.AssetKey
    group: str
    problems: tuple[str, ...]
    file: Path


@dataclass(frozen=True, kw_only=True)
class Declared:
    """The declarations of a lake that can be used, with the file of each table's.

    `manifest` is dbt's, None without models; `section` and `days` are None if they are wrong.
    `window_views` are no tables, but are computed from those of streams; `window_rows` are the tables
    of those whose rows sample sets read.
    """

    streams: tuple[Stream, ...] = ()
    sample_sets: tuple[SampleSet, ...] = ()
    window_views: Mapping[TableName, Windows] = field(default_factory=dict[TableName, Windows])
    window_rows: tuple[WindowRows, ...] = ()
    manifest: Mapping[str, Any] | None = None
    models: Mapping[str, TableName] = field(default_factory=dict[str, TableName])
    section: Section | None = None
    days: dg.DailyPartitionsDefinition | None = None
    files: Mapping[TableName, Path] = field(default_factory=dict[TableName, Path])
    broken: tuple[Broken, ...] = ()

    def table_of(self, view: TableName) -> TableName:
        """Return the table that a feature view is, or whose events a window view is computed from."""
        windows = self.window_views.get(view)
        return view if windows is None else TableName.parse(windows.events)


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """A file with what it declares, or with why that cannot be used.

    `keys` are the assets that it would be; the first one shows the problems, if it is free.
    """

    file: Path
    keys: tuple[dg.AssetKey, ...] = ()
    declares: Stream | SampleSet | None = None
    problems: tuple[str, ...] = ()


def read_declared(settings: Settings) -> Declared:
    """Read streams, sample sets, the dbt project and the days of partitions.

    Each file that cannot be used becomes an asset under the key that it would have had, if that is
    known and free; several of one key become one. Of declarations that would be the same asset none
    is used.
    """
    manifest, bad_project = _manifest(settings)
    models = model_tables(manifest or {"nodes": {}})
    section, bad_section = _section(settings)
    reserved = {table_key(table): f"the dbt model of `{table}`" for table in models.values()}
    reserved |= {ONLINE_STORE: "the online store", table_key(TABLE): "the dead letters"}
    found = inspect_declarations(settings)
    entries = [_refused(each, bad_section) for each in _entries(found)]
    entries = _without_clashes([*entries, *bad_project], reserved, root=settings.root)
    usable = [each for each in entries if each.declares is not None]
    streams = tuple(each.declares for each in usable if isinstance(each.declares, Stream))
    tables = {stream.table: stream for stream in streams}
    window_views = {
        each.view: resolve_windows(each, streams)
        for each in found.window_views.values()
        if each.events in tables
    }
    sample_sets = tuple(each.declares for each in usable if isinstance(each.declares, SampleSet))
    rows = (
        WindowRows.of(each, tables[TableName.parse(each.events)]) for each in window_views.values()
    )
    read = {use.view for each in sample_sets for use in each.features} - set(models.values())
    return Declared(
        streams=streams,
        window_views=window_views,
        window_rows=tuple(each for each in rows if each.table in read),
        sample_sets=sample_sets,
        manifest=manifest,
        models=models,
        section=section,
        days=None if section is None else days_of(section),
        files={each.declares.table: each.file for each in usable if each.declares},
        broken=_broken(entries, used={*reserved, *(key for each in usable for key in each.keys)}),
    )


def _entries(found: Declarations) -> Iterator[_Entry]:
    for name, stream in found.streams.items():
        keys = (table_key(stream.table), compaction_key(stream.table))
        yield _Entry(file=found.stream_files[name], keys=keys, declares=stream)
    for name, each in found.sample_sets.items():
        keys = (table_key(each.table), dataset_key(name), model_key(name))
        yield _Entry(file=found.sample_set_files[name], keys=keys, declares=each)
    for each in found.broken:
        keys = () if each.table is None else (table_key(each.table),)
        yield _Entry(file=each.path, keys=keys, problems=each.problems)


def _refused(entry: _Entry, bad_section: tuple[str, ...]) -> _Entry:
    """Refuse a sample set without days; partitions of other days would mean something else."""
    if not bad_section or not isinstance(entry.declares, SampleSet):
        return entry
    return replace(entry, declares=None, problems=bad_section)


def _without_clashes(
    entries: Sequence[_Entry], reserved: Mapping[dg.AssetKey, str], *, root: Path
) -> list[_Entry]:
    """Refuse each declaration that would be an asset which another one or a model is, too."""
    owners: dict[dg.AssetKey, list[str]] = {key: [owner] for key, owner in reserved.items()}
    for each in entries:
        if each.declares is not None:
            for key in each.keys:
                owners.setdefault(key, []).append(f"declared in `{_shown(each.file, root)}`")
    checked: list[_Entry] = []
    for each in entries:
        here = f"declared in `{_shown(each.file, root)}`"
        problems = tuple(
            f"{_shown(each.file, root)}:1  `{'.'.join(key.path)}` is {other} too, so that neither "
            "declaration can be used; give one another name"
            for key in each.keys
            if each.declares is not None
            for other in owners[key]
            if other != here
        )
        checked.append(
            replace(each, declares=None, keys=(), problems=problems) if problems else each
        )
    return checked


def _broken(entries: Iterable[_Entry], *, used: Collection[dg.AssetKey]) -> tuple[Broken, ...]:
    merged: dict[dg.AssetKey, Broken] = {}
    for each in entries:
        if not each.problems:
            continue
        is_free = each.keys and each.keys[0] not in used
        key = each.keys[0] if is_free else _key_of_file(each.file)
        earlier = merged[key].problems if key in merged else ()
        merged[key] = Broken(
            key=key, group=_group(each.file), problems=earlier + each.problems, file=each.file
        )
    return tuple(merged.values())


def _manifest(settings: Settings) -> tuple[Mapping[str, Any] | None, tuple[_Entry, ...]]:
    """Read the models; if they cannot be parsed, as they were when they last could."""
    project = find_project(settings)
    if project is None:
        return None, ()
    try:
        return load_manifest(settings), ()
    except FeatureBuildError as error:
        file = project / "dbt_project.yml"
        entry = _Entry(file=file, keys=(_DBT,), problems=(f"{file.parent.name}:1  {error}",))
        return last_manifest(settings), (entry,)


def _section(settings: Settings) -> tuple[Section | None, tuple[str, ...]]:
    try:
        return read_section(settings), ()
    except SettingsError as error:
        return None, (str(error),)


def _key_of_file(file: Path) -> dg.AssetKey:
    """Return a key for a file without a table of its own, of characters that a key may have."""
    name = re.sub(r"\W", "_", f"{file.parent.name}_{file.stem}", flags=re.ASCII)
    return dg.AssetKey(["declarations", name])


def _group(file: Path) -> str:
    return {"streams": "ingest", "samples": "samples"}.get(file.parent.name, "features")


def _shown(file: Path, root: Path) -> str:
    return file.relative_to(root).as_posix() if file.is_relative_to(root) else str(file)
