"""The demo's training: it learns what is there to learn, repeatably, and only from the past."""

import datetime as dt
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from demo import model as click_model
from demo.adamw import AdamW, Group
from demo.model import SPEC
from demo.train import judge, train
from headrace.datasets.files import FilePlan
from headrace.datasets.lockfile import Lockfile
from headrace.loading import SampleLoader
from tests.loading.factories import FIRST_DAY, write_file

DAYS = [FIRST_DAY + dt.timedelta(days=day) for day in range(4)]
ROWS = 3000


@dataclass(frozen=True)
class Version:
    """A dataset version as far as loading looks at it."""

    lock: Lockfile
    files: FilePlan


def samples(day: int) -> pa.Table:
    """A day on which items shown often are clicked four times as often."""
    random = np.random.default_rng(day)
    item = random.integers(0, 20, ROWS)
    popular = item < 5
    click = random.random(ROWS) < np.where(popular, 0.2, 0.05)
    segment = random.integers(0, 30, ROWS)
    return pa.table(
        {
            "impressions_1d": pa.array(np.where(popular, 400, 20), pa.int64()),
            "clicks_1d": pa.array(np.where(popular, 80, 1), pa.int64()),
            "ctr_7d": pa.array([None if i == 7 else 0.1 for i in item], pa.float64()),
            "position_ctr_1d": pa.array(np.full(ROWS, 0.1)),
            "position_ctr_7d": pa.array(np.full(ROWS, 0.1)),
            "segment_impressions_1d": pa.array(np.full(ROWS, 100), pa.int64()),
            "segment_clicks_1d": pa.array(np.full(ROWS, 10), pa.int64()),
            "price_score": pa.array(random.normal(size=ROWS)),
            "campaign": pa.array(["men"] * ROWS),
            "item_id": pa.array(item, pa.int64()),
            "position": pa.array(random.integers(1, 4, ROWS), pa.int32()),
            "user_segment": pa.array([f"s{i}" for i in segment]),
            "brand": pa.array([None if i == 3 else f"b{i % 6}" for i in item]),
            "category": pa.array([f"c{i % 3}" for i in item]),
            "affinity_items": pa.array(
                [[int(i)] * int(i % 3) for i in segment], pa.list_(pa.int64())
            ),
            "click": pa.array(click.astype(np.int32)),
            "keep_rate": pa.array(np.where(click, 1.0, 0.5)),
        }
    )


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> Version:
    folder = tmp_path_factory.mktemp("samples")
    files = [
        write_file(folder / f"{day}.parquet", samples(day), row_groups=[ROWS], day=day)
        for day in range(len(DAYS))
    ]
    lock = Lockfile(
        name="ctr",
        version=1,
        table="samples.ctr",
        snapshot_id=5,
        first_day=DAYS[0],
        last_day=DAYS[-1],
        filter_labels="mature",
        left_out=(),
        columns={},
        approximate=(),
        code="",
        definition={},
        watermarks={},
        rows=len(DAYS) * ROWS,
        labels=(),
        content_hash="5f0c",
        days=(),
        pins=(),
        created_at=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
        headrace_version="0",
    )
    return Version(lock, FilePlan(tuple(files)))


def test_the_model_beats_the_base_rate_on_later_days(version: Version, tmp_path: Path) -> None:
    result = train(version, train_days=DAYS[:3], test_days=DAYS[3:], out_dir=tmp_path)
    assert (result.train_rows, result.test.rows, result.base.auc) == (3 * ROWS, ROWS, 0.5)
    assert result.test.auc is not None and result.test.auc > 0.65
    assert result.test.log_loss < result.base.log_loss
    kept = pa.concat_tables([samples(day) for day in range(3)])
    clicked = int(np.asarray(kept["click"]).sum())
    assert result.base_rate == pytest.approx(clicked / (clicked + 2 * (3 * ROWS - clicked)))


def test_training_does_without_the_compiler_of_torch(
    version: Version, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch._dynamo", None)  # to import it fails
    assert train(version, train_days=DAYS[:1], test_days=DAYS[1:2], out_dir=tmp_path).epochs


def test_a_step_is_that_of_the_textbook() -> None:
    weight, idle = (torch.nn.Parameter(torch.tensor([value])) for value in (0.5, 2.0))
    group = Group(parameters=[weight, idle], learning_rate=0.1, weight_decay=0.2)
    optimizer = AdamW([group])
    expected, mean, square = 0.5, 0.0, 0.0
    for step, gradient in enumerate([3.0, -1.0, 0.25], 1):
        weight.grad = torch.tensor([gradient])
        optimizer.step()
        mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
        move = mean / (1 - 0.9**step) / ((square / (1 - 0.999**step)) ** 0.5 + 1e-8)
        expected = expected * (1 - 0.1 * 0.2) - 0.1 * move
        assert weight.item() == pytest.approx(expected, rel=1e-6)
    assert idle.item() == 2.0  # without a gradient nothing moves, nor decays
    optimizer.zero_grad()
    assert weight.grad is None


@pytest.mark.proof  # torch's own optimizers import its compiler, which takes 3 s
def test_steps_are_those_of_torch_to_the_last_bit() -> None:
    ours, other = (torch.nn.Parameter(torch.linspace(-2, 2, 99)) for _ in range(2))
    mine = AdamW([Group(parameters=[ours], learning_rate=1e-2, weight_decay=1e-2)])
    stock = torch.optim.AdamW([other], lr=1e-2, weight_decay=1e-2)
    random = torch.Generator().manual_seed(3)
    for _ in range(200):
        ours.grad = torch.randn(99, generator=random)
        other.grad = ours.grad.clone()
        mine.step()
        stock.step()
        assert torch.equal(ours, other)


def test_the_same_seed_gives_the_same_model_and_leaves_torch_as_it_was(
    version: Version, tmp_path: Path
) -> None:
    torch.manual_seed(1)
    expected, threads = torch.rand(1), torch.get_num_threads()
    torch.manual_seed(1)
    weights = []
    for name in ("one", "two"):
        done = train(version, train_days=DAYS[:1], test_days=DAYS[1:2], out_dir=tmp_path / name)
        weights.append(torch.load(done.model_path, weights_only=True)["model"])
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(tensor, weights[1][name]) for name, tensor in weights[0].items())
    assert torch.equal(torch.rand(1), expected)
    assert torch.get_num_threads() == threads


def test_a_saved_model_scores_one_vector_as_the_loader_would(
    version: Version, tmp_path: Path
) -> None:
    result = train(version, train_days=DAYS[:1], test_days=DAYS[1:2], out_dir=tmp_path)
    model, dataset = click_model.load(result.model_path)
    assert dataset == {"name": "ctr", "version": 1, "content_hash": "5f0c"}
    with SampleLoader(version, spec=SPEC, batch_size=64) as loader:
        expected = torch.sigmoid(model(next(iter(loader))))
    table = pq.read_table(version.files.files[0].path).slice(0, 64)
    found = [click_model.score(model, row, types=table.schema) for row in table.to_pylist()]
    assert found == pytest.approx(expected.tolist(), rel=1e-5)
    assert 0 < click_model.score(model, {"campaign": "men", "item_id": 3}, types=table.schema) < 1


def test_a_model_of_another_spec_is_refused(version: Version, tmp_path: Path) -> None:
    result = train(version, train_days=DAYS[:1], test_days=DAYS[1:2], out_dir=tmp_path)
    content = torch.load(result.model_path, weights_only=True)
    torch.save({**content, "spec": "other"}, result.model_path)
    with pytest.raises(ValueError, match="retrain it"):
        click_model.load(result.model_path)


def test_training_on_the_future_is_refused(version: Version, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="before all test days"):
        train(version, train_days=DAYS[1:3], test_days=DAYS[2:], out_dir=tmp_path)


def test_scores_are_those_of_the_textbook() -> None:
    labels, logits = np.array([1.0, 0.0, 1.0, 0.0]), np.array([2.0, 1.0, 1.0, -1.0])
    score = judge(labels, logits, np.array([1.0, 2.0, 1.0, 2.0]))
    losses = [np.log1p(np.exp(-2)), np.log1p(np.e), np.log1p(np.exp(-1)), np.log1p(np.exp(-1))]
    assert score.auc == 0.875  # of 4 pairs 3 are right and one is a tie
    assert score.log_loss == pytest.approx(np.average(losses, weights=[1, 2, 1, 2]))
    assert judge(np.zeros(3), np.zeros(3), np.ones(3)).auc is None
