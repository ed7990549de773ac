"""Which models lie beside a lake, and which version each was trained on."""

import datetime as dt
import os
from dataclasses import replace

from headrace.api import Lake
from headrace.datasets.models import model_folder, trained_models
from headrace.datasets.versions import list_datasets
from tests.ui.factories import fill


def test_models_name_the_newest_version_of_their_content(lake: Lake) -> None:
    fill(lake, dataset_versions=2)
    first, second = (
        replace(lock, content_hash=digit * 32)
        for lock, digit in zip(list_datasets(lake), "ab", strict=True)
    )
    for lock, at in ((first, 100), (second, 50)):
        folder = model_folder(lake.settings, lock)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model.pt").write_bytes(b"weights")
        os.utime(folder / "model.pt", (at, at))
    (lake.settings.state_dir / "models" / "notes").mkdir()
    (lake.settings.state_dir / "models" / "ctr-0123456789abcdef").mkdir()  # nothing is in it
    newer, older = trained_models(lake.settings, [first, second])
    assert (newer.version, older.version) == (2, 1)
    assert older.trained_at == dt.datetime.fromtimestamp(100, dt.UTC)
    same = replace(second, content_hash=first.content_hash)
    assert [each.version for each in trained_models(lake.settings, [first, same])] == [None, 2]


def test_a_lake_without_models_has_none(lake: Lake) -> None:
    assert trained_models(lake.settings, []) == ()
