"""What `export_model` refuses, and what it replaces."""

from dataclasses import replace
from pathlib import Path

import onnx
import pytest
import torch

from headrace.errors import ModelNotExportedError
from headrace.loading import Batch, FeatureSpec, batch_of
from headrace.loading.export import export_model
from headrace.model_inputs.exported import FACTS, GRAPH, ExportedModel
from headrace.serving.scorer import Scorer
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


class Bags(torch.nn.Module):
    """Lists as bags of every kind."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(32, 4))
        self.bags = torch.nn.ModuleList(
            torch.nn.EmbeddingBag(32, 4, mode=mode, padding_idx=padding, include_last_offset=True)
            for mode, padding in (("sum", None), ("mean", 7), ("max", None), ("max", 7))
        )

    def forward(self, batch: Batch) -> torch.Tensor:
        liked = batch.sequence["user_liked"]
        whole = torch.nn.functional.embedding_bag(
            liked.values % 32,
            self.weight,
            liked.offsets[:-1],
            mode="sum",
            per_sample_weights=torch.sin(liked.values.float()),
        )
        found = [bag(liked.values % 32, liked.offsets) for bag in self.bags]
        return torch.stack([whole, *found]).sum((0, 2)) + batch.dense.sum(1)


def test_bags_of_embeddings_are_no_loop_over_the_rows(tmp_path: Path) -> None:
    torch.manual_seed(3)
    model, spec = Bags(), FeatureSpec(dense=["ctr"], sequence=["user_liked"])
    export_model(model, spec=spec, types=TYPES, lock=lockfile(), folder=tmp_path / "bags")
    graph = onnx.load(tmp_path / "bags" / GRAPH).graph
    assert not {"Loop", "If", "Scan"} & {node.op_type for node in graph.node}
    scorer = Scorer.open(tmp_path / "bags")
    cases: list[list[list[int] | None]] = [[[7, 39], None, [7], [1, 2, 2, 40]], [[], None], [[3]]]
    for lists in cases:
        rows = [{"ctr": 0.5, "user_liked": each} for each in lists]
        with torch.inference_mode():
            wanted = torch.sigmoid(model(batch_of(rows, spec=spec, types=TYPES)))
        columns = {name: [row[name] for row in rows] for name in rows[0]}
        assert scorer.score(columns) == pytest.approx(wanted.numpy(), abs=1e-5)


class HalfBag(torch.nn.Module):
    """One bag of 16-bit weights."""

    def __init__(self) -> None:
        super().__init__()
        self.bag = torch.nn.EmbeddingBag(8, 4, mode="sum").half()

    def forward(self, batch: Batch) -> torch.Tensor:
        assert batch.dense is not None
        liked = batch.sequence["user_liked"]
        return self.bag(liked.values % 8, liked.offsets[:-1]).float().sum(1) + batch.dense.sum(1)


def test_a_bag_of_16_bit_weights_is_exported_as_torch_does(tmp_path: Path) -> None:
    spec = FeatureSpec(dense=["ctr"], sequence=["user_liked"])
    model, folder = HalfBag(), tmp_path / "half"
    export_model(model, spec=spec, types=TYPES, lock=lockfile(), folder=folder)
    rows = [{"ctr": 0.5, "user_liked": [3, 4]}]
    with torch.inference_mode():
        wanted = torch.sigmoid(model(batch_of(rows, spec=spec, types=TYPES)))
    found = Scorer.open(folder).score({"ctr": [0.5], "user_liked": [[3, 4]]})
    assert found == pytest.approx(wanted.numpy(), abs=1e-3)


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
    (tmp_path / "usual").mkdir()
    assert folder.stat().st_mode == (tmp_path / "usual").stat().st_mode  # of who may read it
    (folder / "notes.txt").write_text("mine")
    with refused(ModelNotExportedError):
        export_model(Summed(), spec=spec, types=TYPES, lock=lockfile(), folder=folder)
    assert sorted(each.name for each in folder.iterdir()) == [FACTS, GRAPH, "notes.txt"]
    with refused(ModelNotExportedError):
        export_model(Summed(), spec=spec, types=TYPES, lock=lockfile(), folder=folder / FACTS)
