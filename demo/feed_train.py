"""Trains the feed's model on earlier days, and judges it on a later one beside the truth."""

import datetime as dt
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch.nn.functional import binary_cross_entropy_with_logits

from demo.adamw import AdamW, Group
from demo.feed_model import SPEC, FeedModel
from demo.train import Score, judge, repeatable
from headrace.config import Settings
from headrace.datasets.models import model_folder
from headrace.datasets.versions import Dataset
from headrace.loading import SampleLoader, Shuffle
from headrace.loading.export import export_model
from headrace.storage.open import local_folders

BATCH_SIZE, EPOCHS = 1024, 1  # more of them learn users by heart
LEARNING_RATE, WEIGHT_DECAY = 4e-3, 3e-2
SEED = 7
_REPORT = "report.json"


@dataclass(frozen=True, kw_only=True)
class Taught:
    """A model of the feed, and what it, the base rate and the truth are worth on the last day.

    `best` scores each impression by the probability that the simulator drew its click with: no model
    can do better but by chance. `model` is the folder of the exported graph.
    """

    trained: bool
    model: Path
    train_days: tuple[str, ...]
    test_day: str
    train_rows: int
    base: Score
    found: Score
    best: Score


def teach_once(settings: Settings, dataset: Dataset, truth: Path) -> Taught:
    """Train, judge and export the model; once for the same content."""
    folder = model_folder(settings, dataset.lock)
    report, graph = folder / _REPORT, folder / "exported"
    known = report.is_file() and graph.is_dir()
    if not known:
        said = _teach(dataset, truth, graph)
        local_folders().write(str(report), json.dumps(said).encode())
    said = json.loads(report.read_text())
    return Taught(
        trained=not known,
        model=graph,
        train_days=tuple(said["train_days"]),
        test_day=said["test_day"],
        train_rows=said["train_rows"],
        base=Score(**said["base"]),
        found=Score(**said["found"]),
        best=Score(**said["best"]),
    )


def _teach(dataset: Dataset, truth: Path, graph: Path) -> dict[str, object]:
    days = [each.day for each in dataset.lock.days]
    train_days, test_day = days[:-1], days[-1]
    with repeatable(SEED):
        rows, base_rate = _base_rate(dataset, train_days)
        model = FeedModel(base_rate=base_rate)
        _fit(model, dataset, train_days)
        keys, labels, logits = _predict(model, dataset, test_day)
        with SampleLoader(dataset, spec=SPEC, batch_size=1) as loader:
            types = loader.schema
        export_model(model, spec=SPEC, types=types, lock=dataset.lock, folder=graph)
    chances = _chances(truth)
    best = np.array([chances[key] for key in keys])
    ones = np.ones(len(labels))
    base = np.full(len(labels), math.log(base_rate / (1 - base_rate)))
    return {
        "train_days": [day.isoformat() for day in train_days],
        "test_day": test_day.isoformat(),
        "train_rows": rows,
        "base": asdict(judge(labels, base, ones)),
        "found": asdict(judge(labels, logits, ones)),
        "best": asdict(judge(labels, np.log(best / (1 - best)), ones)),
    }


def _base_rate(dataset: Dataset, days: list[dt.date]) -> tuple[int, float]:
    rows = clicked = 0
    with SampleLoader(dataset, spec=SPEC, batch_size=8192, days=days) as loader:
        for batch in loader:
            rows, clicked = rows + len(batch), clicked + int(batch.labels.sum())
    return rows, clicked / rows


def _fit(model: FeedModel, dataset: Dataset, days: list[dt.date]) -> None:
    trained = [each for each in model.parameters() if each.requires_grad]
    group = Group(parameters=trained, learning_rate=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    optimizer = AdamW([group])
    shuffle = Shuffle(seed=SEED)
    with SampleLoader(
        dataset, spec=SPEC, batch_size=BATCH_SIZE, shuffle=shuffle, days=days
    ) as loader:
        for _ in range(EPOCHS):
            for batch in loader:
                loss = binary_cross_entropy_with_logits(model(batch), batch.labels[:, 0])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()


def _predict(
    model: FeedModel, dataset: Dataset, day: dt.date
) -> tuple[list[str], NDArray[np.float64], NDArray[np.float64]]:
    """Sample ids, labels and log-odds of a day."""
    keys: list[str] = []
    parts: list[torch.Tensor] = []
    model.eval()
    with (
        torch.inference_mode(),
        SampleLoader(dataset, spec=SPEC, batch_size=8192, days=[day]) as loader,
    ):
        for batch in loader:
            assert batch.keys is not None  # SPEC names one
            keys += batch.keys.to_pylist()
            parts.append(torch.stack([batch.labels[:, 0], model(batch)]))
    labels, logits = torch.cat(parts, dim=1).double().numpy()
    return keys, labels, logits


def _chances(truth: Path) -> Mapping[str, float]:
    found = pq.read_table(truth, columns=["impression_id", "click_probability"])
    names, chances = (found.column(name).to_pylist() for name in found.column_names)
    return dict(zip(names, chances, strict=True))
