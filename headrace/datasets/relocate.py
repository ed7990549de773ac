"""File plans of a copied lake: their paths are changed to those of the copy."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from headrace.config import Settings
from headrace.datasets.files import FilePlan, PlannedFile
from headrace.tables.relocate import copy_in


def plans_elsewhere(settings: Settings) -> tuple[Path, ...]:
    """Find the file plans that name files of another warehouse which were copied to this one.

    Raises:
        CorruptFileError: If a file plan cannot be read.

    """
    if not settings.warehouse_is_local:
        return ()
    return tuple(
        path
        for path in sorted(settings.datasets_dir.glob("*.files.parquet"))
        if any(_moved(each, settings) != each for each in FilePlan.read(path).files)
    )


def relocate_plans(settings: Settings) -> Iterator[Path]:
    """Let file plans name the files of this warehouse; yield each that was written.

    Each is written whole or not at all; a second run writes nothing. Lockfiles name no locations.

    Raises:
        CorruptFileError: If a file plan cannot be read.
        StorageError: If one cannot be written; it is as it was.

    """
    for path in plans_elsewhere(settings):
        plan = FilePlan.read(path)
        moved = FilePlan(tuple(_moved(each, settings) for each in plan.files))
        moved.write(path)
        yield path


def _moved(file: PlannedFile, settings: Settings) -> PlannedFile:
    if file.path.startswith(f"{settings.warehouse}/"):
        return file
    move = copy_in(settings.warehouse, file.path)
    return file if move is None else replace(file, path=move.of(file.path))
