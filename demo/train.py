"""Train the demo's click model on earlier days of a dataset version and evaluate it on later ones."""

import datetime as dt
import math
import time
from collections.abc import Collection, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import binary_cross_entropy_with_logits

from demo.adamw import AdamW, Group
from demo.model import SPEC, ClickModel, save
from headrace.loading import Batch, SampleLoader, Shuffle
from headrace.loading.loader import PublishedFiles

BATCH_SIZE = 512
EPOCHS = 3
LEARNING_RATE = 5e-4
LEARNING_RATE_RATES = 1e-2
WEIGHT_DECAY = 1e-2
THREADS = 1  # of torch; one thread adds numbers in a fixed order, so results are reproducible


@dataclass(frozen=True, kw_only=True)
class Score:
    """Metrics of predictions against labels; `auc` is None if one class is missing.

    `log_loss` weights each row by 1 / keep_rate, so it applies to all traffic, not only to the kept
    samples. `auc` needs no weights: negatives were sampled at one rate, independent of their score.
    """

    rows: int
    positives: int
    auc: float | None
    log_loss: float


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """A trained model and its metrics on held-out days.

    `base` has the metrics of a constant prediction: the weighted click rate of the training days.
    """

    dataset: str
    snapshot_id: int
    model_path: Path
    train_rows: int
    train_positives: int
    base_rate: float
    test: Score
    base: Score
    epochs: int
    loader_rows_per_s: float
    seconds: float


def train(
    dataset: PublishedFiles,
    *,
    train_days: Collection[dt.date],
    test_days: Collection[dt.date],
    out_dir: Path,
    seed: int = 7,
) -> TrainResult:
    """Train on `train_days`, evaluate on `test_days`, write `model.pt` to `out_dir`.

    The same dataset version, days and seed give a bit-identical model on the same machine.

    Raises:
        ValueError: If a training day is not before every test day, or no training sample is positive.

    """
    if not train_days or not test_days or max(train_days) >= min(test_days):
        msg = "all training days must be before all test days, and neither may be empty"
        raise ValueError(msg)
    started = time.perf_counter()
    with repeatable(seed):
        rows, positives, base_rate = _base_rate(dataset, train_days)
        model = ClickModel(base_rate=base_rate)
        rows_per_s = _fit(model, dataset, train_days, seed=seed)
        labels, weights, logits = _predict(model, dataset, test_days)
    lock = dataset.lock
    out_dir.mkdir(parents=True, exist_ok=True)
    path = out_dir / "model.pt"
    version = {"name": lock.name, "version": lock.version, "content_hash": lock.content_hash}
    save(model, path, dataset=version)
    base = np.full(len(labels), math.log(base_rate / (1 - base_rate)))
    return TrainResult(
        dataset=f"{lock.name} v{lock.version}",
        snapshot_id=lock.snapshot_id,
        model_path=path,
        train_rows=rows,
        train_positives=positives,
        base_rate=base_rate,
        test=judge(labels, logits, weights),
        base=judge(labels, base, weights),
        epochs=EPOCHS,
        loader_rows_per_s=rows_per_s,
        seconds=time.perf_counter() - started,
    )


def judge(
    labels: NDArray[np.float64], logits: NDArray[np.float64], weights: NDArray[np.float64]
) -> Score:
    """Evaluate log-odds against 0/1 labels."""
    losses = np.logaddexp(0.0, logits) - labels * logits
    return Score(
        rows=len(labels),
        positives=int(labels.sum()),
        auc=_auc(labels, logits),
        log_loss=float(np.average(losses, weights=weights)),
    )


def _auc(labels: NDArray[np.float64], scores: NDArray[np.float64]) -> float | None:
    """Probability that a positive scores above a negative; a tie counts half."""
    positives = int(labels.sum())
    negatives = len(labels) - positives
    if not positives or not negatives:
        return None
    _, group, sizes = np.unique(scores, return_inverse=True, return_counts=True)
    mean_rank = np.cumsum(sizes) - (sizes - 1) / 2
    above = mean_rank[group][labels == 1].sum() - positives * (positives + 1) / 2
    return float(above / (positives * negatives))


def _row_weights(batch: Batch) -> torch.Tensor:
    assert batch.weight is not None  # SPEC names one
    return 1.0 / batch.weight


def _base_rate(dataset: PublishedFiles, days: Collection[dt.date]) -> tuple[int, int, float]:
    rows = positives = 0
    clicked = total = 0.0
    with SampleLoader(dataset, spec=SPEC, batch_size=8192, days=days) as loader:
        for batch in loader:
            labels, weights = batch.labels[:, 0].double(), _row_weights(batch).double()
            rows, positives = rows + len(batch), positives + int(labels.sum())
            clicked, total = clicked + float(labels @ weights), total + float(weights.sum())
    if not positives or positives == rows:
        msg = f"{positives} of {rows} training samples are positive; both classes are needed"
        raise ValueError(msg)
    return rows, positives, clicked / total


def _fit(
    model: ClickModel, dataset: PublishedFiles, days: Collection[dt.date], *, seed: int
) -> float:
    rates = list(model.linear.parameters())
    rest = [p for p in model.parameters() if not any(p is rate for rate in rates)]
    optimizer = AdamW(
        [
            Group(parameters=rates, learning_rate=LEARNING_RATE_RATES, weight_decay=0.0),
            Group(parameters=rest, learning_rate=LEARNING_RATE, weight_decay=WEIGHT_DECAY),
        ]
    )
    shuffle = Shuffle(seed=seed)
    with SampleLoader(
        dataset, spec=SPEC, batch_size=BATCH_SIZE, shuffle=shuffle, days=days
    ) as loader:
        for _ in range(EPOCHS):
            for batch in loader:
                loss = binary_cross_entropy_with_logits(
                    model(batch), batch.labels[:, 0], weight=_row_weights(batch)
                )
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        return loader.stats().rows_per_s


def _predict(
    model: ClickModel, dataset: PublishedFiles, days: Collection[dt.date]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Labels, row weights and log-odds of the given days."""
    parts: list[torch.Tensor] = []
    model.eval()
    with (
        torch.inference_mode(),
        SampleLoader(dataset, spec=SPEC, batch_size=8192, days=days) as loader,
    ):
        for batch in loader:
            parts.append(torch.stack([batch.labels[:, 0], _row_weights(batch), model(batch)]))
    labels, weights, logits = torch.cat(parts, dim=1).double().numpy()
    return labels, weights, logits


@contextmanager
def repeatable(seed: int) -> Generator[None]:
    """Set torch's seed and number of threads, and restore them afterwards."""
    threads = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.set_num_threads(THREADS)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
