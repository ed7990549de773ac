"""Where models that were trained on a dataset version lie, and which there are."""

import datetime as dt
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from headrace.config import Settings
from headrace.datasets.lockfile import Lockfile

_HASH_LENGTH = 16
_FOLDER = re.compile(rf"([a-z_][a-z0-9_]*)-([0-9a-f]{{{_HASH_LENGTH}}})")


@dataclass(frozen=True, kw_only=True)
class TrainedModel:
    """A folder of a model; `version` is the newest version with the content it was trained on.

    `version` is None if no published version has that content, and `trained_at` is when the newest
    file of the folder was written.
    """

    dataset: str
    version: int | None
    folder: str
    trained_at: dt.datetime


def model_folder(settings: Settings, lock: Lockfile) -> Path:
    """Return the folder for a model trained on a version: equal content has the same folder."""
    return settings.state_dir / "models" / f"{lock.name}-{lock.content_hash[:_HASH_LENGTH]}"


def trained_models(settings: Settings, versions: Iterable[Lockfile]) -> tuple[TrainedModel, ...]:
    """List the folders of models that hold files, oldest first; other folders are left out."""
    newest = {
        (lock.name, lock.content_hash[:_HASH_LENGTH]): lock.version
        for lock in sorted(versions, key=lambda each: each.version)
    }
    found: list[TrainedModel] = []
    for folder in sorted((settings.state_dir / "models").glob("*/")):
        named = _FOLDER.fullmatch(folder.name)
        times = [each.stat().st_mtime for each in folder.iterdir() if each.is_file()]
        if named is None or not times:
            continue
        found.append(
            TrainedModel(
                dataset=named[1],
                version=newest.get((named[1], named[2])),
                folder=folder.name,
                trained_at=dt.datetime.fromtimestamp(max(times), dt.UTC),
            )
        )
    return tuple(sorted(found, key=lambda each: each.trained_at))
