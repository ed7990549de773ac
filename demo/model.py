"""The demo's click model: hashed embeddings, a few rates, a small MLP."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from torch import nn

from headrace.loading import Batch, FeatureSpec, batch_of

SPEC = FeatureSpec(
    dense=[
        "impressions_1d",
        "clicks_1d",
        "ctr_7d",
        "position_ctr_1d",
        "position_ctr_7d",
        "segment_impressions_1d",
        "segment_clicks_1d",
        "price_score",
    ],
    sparse=["campaign", "item_id", "position", "user_segment", "brand", "category"],
    # The affinities in the logs come from clicks of 2019-11-24, including that day's labels: train on
    # later days only, otherwise this column leaks the label.
    sequence=["affinity_items"],
    label=["click"],
    weight="keep_rate",
)
FORMAT_VERSION = 1
ITEM_BUCKETS = 1024
BUCKETS: Mapping[str, int] = {
    "campaign": 16,
    "position": 16,
    "user_segment": 1024,
    "brand": 256,
    "category": 64,
}
WIDTH = 4
HIDDEN = 16
_MIX = 0x2545F4914F6CDD1D  # odd, so that multiplication permutes int64
_RATE_ROWS = 1000.0  # weight of the average in a smoothed rate, in impressions: about 5 clicks
_NOISY = 0.2  # a rate without its counts cannot be smoothed, so it gets a small weight


def _bucket(ids: torch.Tensor, buckets: int) -> torch.Tensor:
    """Hash ids into buckets with integer operations, which are equal on every device."""
    return ((ids * _MIX) >> 32) % buckets


class ClickModel(nn.Module):
    """Log-odds of a click for a batch of `SPEC`.

    Before training it predicts `base_rate` for every row: the last layers start at zero.
    """

    base_rate: torch.Tensor

    def __init__(self, *, base_rate: float) -> None:
        super().__init__()
        self.register_buffer("base_rate", torch.tensor(base_rate))
        self.items = nn.EmbeddingBag(ITEM_BUCKETS, WIDTH, mode="mean", include_last_offset=True)
        tables = {name: nn.Embedding(n, WIDTH) for name, n in BUCKETS.items()}
        self.tables = nn.ModuleDict(tables)
        for table in (self.items, *tables.values()):
            nn.init.normal_(table.weight, std=0.01)
        rates = len(SPEC.dense)
        self.linear = nn.Linear(rates, 1)
        inner = nn.Linear(rates + WIDTH * (2 + len(BUCKETS)), HIDDEN)
        outer = nn.Linear(HIDDEN, 1)
        self.mlp = nn.Sequential(inner, nn.ReLU(), outer)
        for last in (self.linear, outer):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(self, batch: Batch) -> torch.Tensor:
        """Return log-odds, [B]."""
        campaign = batch.sparse["campaign"]
        item = _bucket(campaign ^ (batch.sparse["item_id"] * _MIX), ITEM_BUCKETS)
        liked = batch.sequence["affinity_items"]
        counts = liked.offsets.diff()
        liked_campaign = torch.repeat_interleave(campaign, counts)
        liked_items = _bucket(liked_campaign ^ (liked.values * _MIX), ITEM_BUCKETS)
        single = torch.arange(len(batch) + 1, device=item.device)
        rates = self._rates(batch.dense)
        parts = [
            rates,
            self.items(item, single),
            self.items(liked_items, liked.offsets),
            *(
                table(_bucket(batch.sparse[name], BUCKETS[name]))
                for name, table in self.tables.items()
            ),
        ]
        wide, deep = self.linear(rates), self.mlp(torch.cat(parts, dim=1))
        return (torch.logit(self.base_rate) + wide + deep).squeeze(1)

    def _rates(self, dense: torch.Tensor) -> torch.Tensor:
        """Counts to logs, rates to log-ratios against the base rate, both about 0 to 1 in size."""
        column = dict(zip(SPEC.dense, dense.unbind(1), strict=True))
        base = self.base_rate

        def ratio(clicks: torch.Tensor, impressions: torch.Tensor) -> torch.Tensor:
            return ((clicks + _RATE_ROWS * base) / (impressions + _RATE_ROWS) / base).log()

        def rate(name: str) -> torch.Tensor:
            return _NOISY * ((column[name] / base).clamp(0.0, 10.0).log1p() - 0.7)

        return torch.stack(
            [
                ratio(column["clicks_1d"], column["impressions_1d"]),
                column["impressions_1d"].log1p() / 3.0 - 1.3,
                rate("ctr_7d"),
                rate("position_ctr_1d"),
                rate("position_ctr_7d"),
                ratio(column["segment_clicks_1d"], column["segment_impressions_1d"]),
                _NOISY * column["segment_impressions_1d"].log1p() / 3.0,
                _NOISY * column["price_score"],
            ],
            dim=1,
        )


def score(model: ClickModel, vector: Mapping[str, Any], *, types: pa.Schema) -> float:
    """Return the click probability for one feature vector and its entities.

    Both use the column names of training; `types` are those of the training samples.
    """
    with torch.inference_mode():
        return float(torch.sigmoid(model(batch_of([vector], spec=SPEC, types=types)))[0])


def save(model: ClickModel, path: Path, *, dataset: Mapping[str, Any]) -> None:
    """Write the weights and the dataset version they were trained on, as tensors and plain values."""
    content = {
        "format_version": FORMAT_VERSION,
        "spec": SPEC.hash,
        "dataset": dict(dataset),
        "model": model.state_dict(),
    }
    partial = path.with_name(f".{path.name}.partial")
    torch.save(content, partial)
    partial.replace(path)


def load(path: Path) -> tuple[ClickModel, dict[str, Any]]:
    """Read a model and its dataset version as written by `save`.

    Raises:
        ValueError: If the file has another format or feature spec.

    """
    content = torch.load(path, weights_only=True)
    found = (content.get("format_version"), content.get("spec"))
    if found != (FORMAT_VERSION, SPEC.hash):
        msg = f"`{path}` has a model of format and feature spec {found}; retrain it"
        raise ValueError(msg)
    model = ClickModel(base_rate=0.5)
    model.load_state_dict(content["model"])
    return model.eval(), content["dataset"]
