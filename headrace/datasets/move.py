"""Moves a lake to where another profile has its own: tables, dataset versions, and the registry last."""

import contextlib
from collections.abc import Generator, Iterator
from dataclasses import replace

from headrace.config import Settings
from headrace.crash_points import crash_point
from headrace.datasets.files import FilePlan
from headrace.datasets.versions import documents_of
from headrace.registry import Registry
from headrace.registry.transfer import copy_records, has_records
from headrace.storage.folders import Entry
from headrace.storage.locations import local_path
from headrace.tables.catalogs import open as opening
from headrace.tables.move import LakeMove, apply_move, refuse_changed
from headrace.tables.rewritten import Move

_PLAN = ".files.parquet"


def documents(source: Settings) -> tuple[Entry, ...]:
    """List the lockfiles and file plans of a lake's dataset versions."""
    found = documents_of(source).list(source.datasets_uri)
    wanted = (".lock.json", _PLAN)
    return tuple(each for each in found if each.name.endswith(wanted))


def move_lake(source: Settings, target: Settings, plan: LakeMove) -> Iterator[str]:
    """Move what a plan lists, then documents and records; yield the name of each when it is there.

    The registry comes last, in one transaction: dataset versions appear with their tables and
    documents. Safe to kill and to run again. What is published to the online store stays where it is.

    Raises:
        CorruptFileError: If a file is missing or damaged.
        LakeMoveError: If a table was changed since it was planned.
        StorageError: If a file cannot be written.
        UnsupportedTableError: If a table has a feature that cannot be moved.

    """
    for table in apply_move(source, target, plan):
        yield table.table
    for each in documents(source):
        _move_document(each, source, target, plan.move)
        yield each.name
    refuse_changed(source, plan, profile=target.profile)
    crash_point("move.before_records")
    with _registries(source, target) as (here, there):
        copy_records(here, there)
    yield "registry"


def is_moved(source: Settings, target: Settings, plan: LakeMove) -> bool:
    """Whether a plan leaves nothing to do, the registry's records included."""
    if plan.tables or opening.lost(target) or opening.lost_servers(target):
        return False
    with _registries(source, target) as (here, there):
        return has_records(here, there)


@contextlib.contextmanager
def _registries(source: Settings, target: Settings) -> Generator[tuple[Registry, Registry]]:
    with contextlib.ExitStack() as stack:
        here, there = (
            stack.enter_context(contextlib.closing(opening.open_registry(each)))
            for each in (source, target)
        )
        yield here, there


def _move_document(each: Entry, source: Settings, target: Settings, move: Move) -> None:
    """Copy a lockfile, which names no locations, or a file plan with the new ones."""
    here, there = documents_of(source), documents_of(target)
    to = f"{local_path(target.datasets_uri)}/{each.name}"
    if not each.name.endswith(_PLAN):
        there.write(to, here.read(each.location))
        return
    held = FilePlan.read(each.location, store=here)
    FilePlan(tuple(replace(file, path=move.of(file.path)) for file in held.files)).write(
        to, store=there
    )
