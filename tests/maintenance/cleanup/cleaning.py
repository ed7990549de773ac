"""Cleaning up as if hours had passed, and the files that a dead writer leaves."""

import datetime as dt
import os
import time
from collections.abc import Iterable
from pathlib import Path

from headrace.config import Settings
from headrace.maintenance.cleanup.cleanup import (
    CleanupPlan,
    CleanupResult,
    apply_cleanup,
    plan_cleanup,
)
from headrace.storage.locations import local_path
from headrace.tables.lake import LakeTable
from headrace.tables.writer import write_batches
from tests.tables.factories import events

HOUR_S = 3600


def later(hours: float = 100) -> dt.datetime:
    return dt.datetime.now(dt.UTC) + dt.timedelta(hours=hours)


def clean(table: LakeTable, *, hours: float = 100) -> CleanupResult:
    """Clean up as if it were some hours later, so that all files are old."""
    return apply_cleanup(table, plan_cleanup(table, now=later(hours)), now=later(hours))


def planned(plan: CleanupPlan) -> set[str]:
    return {f"{plan.location}/{file.path}" for file in plan.files}


def kept(plan: CleanupPlan) -> dict[str, int]:
    return {each.reason: each.files for each in plan.kept}


def abandon(table: LakeTable, ids: Iterable[int] = (99,)) -> set[str]:
    """Leave files behind as a writer does whose process has ended since."""
    files = write_batches(table, [events(list(ids))])
    table.lake.registry.end_writes([w.write_id for w in table.lake.registry.writes()])
    return {local_path(file.file_path) for file in files}


def keeping(settings: Settings, snapshots: int) -> Settings:
    return Settings(**{**settings.__dict__, "snapshots_kept": snapshots})


def age(path: Path | str, *, hours: float) -> None:
    at = time.time() - hours * HOUR_S
    os.utime(path, (at, at))
