"""What `export_model` refuses, and what it replaces."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from headrace.errors import ModelNotExportedError
from headrace.loading import Batch, FeatureSpec
from headrace.loading.export import export_model
from headrace.model_inputs.exported import FACTS, GRAPH, ExportedModel
from tests.raising import refused
from tests.serving.ranked import TYPES, lockfile

pytestmark = pytest.mark.slow


def test_a_model_whose_graph_would_compute_otherwise_is_not_exported(tmp_path: Path) -> None:
    class Baked(torch.nn.Module):
        def forward(self, batch: Batch) -> torch.Tensor:
            return batch.dense.sum(1) + torch.rand(1).item()

    spec = FeatureSpec(dense=["ctr"])
    with refused(ModelNotExportedError):
        export_model(Baked(), spec=spec, types=TYPES, lock=lockfile(), folder=tmp_path / "baked")
    assert not list(tmp_path.iterdir())


class Summed(torch.nn.Module):
    def forward(self, batch: Batch) -> torch.Tensor:
        assert batch.dense is not None
        return batch.dense.sum(1)


def test_an_export_replaces_an_exported_model_and_nothing_else(tmp_path: Path) -> None:
    spec, folder = FeatureSpec(dense=["ctr"]), tmp_path / "mine"
    for version in (3, 4):
        lock = replace(lockfile(), version=version)
        export_model(Summed(), spec=spec, types=TYPES, lock=lock, folder=folder)
        assert ExportedModel.load(folder).version == version
    assert [each.name for each in tmp_path.iterdir()] == ["mine"]
    (folder / "notes.txt").write_text("mine")
    with refused(ModelNotExportedError):
        export_model(Summed(), spec=spec, types=TYPES, lock=lockfile(), folder=folder)
    assert sorted(each.name for each in folder.iterdir()) == [FACTS, GRAPH, "notes.txt"]
    with refused(ModelNotExportedError):
        export_model(Summed(), spec=spec, types=TYPES, lock=lockfile(), folder=folder / FACTS)
