"""The model of the simulated feed: a small DLRM, which can see whether an item is among those liked."""

import torch
from torch import nn
from torch.nn.functional import embedding_bag

from headrace.loading import Batch, FeatureSpec

SPEC = FeatureSpec(
    dense=[
        "item_shown_1d",
        "item_shown_3d",
        "item_clicks_1d",
        "item_clicks_3d",
        "user_sessions_7d",
        "user_watch_seconds_7d",
    ],
    sparse=["user_id", "campaign", "item_id", "position"],
    sequence=["affinity_items"],
    label=["click"],
    key="sample_id",
)
WIDTH = 8
SIGNS = 32  # numbers that tell items apart: those of one item agree, those of two do not
_BUCKETS = 8192
_CAMPAIGNS, _SPREAD = 61, 577
_SMOOTH = 50.0  # weight of the base rate in an item's rate, in impressions


class FeedModel(nn.Module):
    """Log-odds of a click for a batch of `SPEC`; before training it predicts `base_rate`."""

    base_rate: torch.Tensor

    def __init__(self, *, base_rate: float) -> None:
        super().__init__()
        self.register_buffer("base_rate", torch.tensor(base_rate))
        self.user = nn.Embedding(_BUCKETS, WIDTH)
        self.item = nn.Embedding(_BUCKETS, WIDTH)
        self.place = nn.Embedding(16, WIDTH)
        self.biases = nn.ModuleList(nn.Embedding(n, 1) for n in (_BUCKETS, _BUCKETS, 16))
        self.signs = nn.Embedding(_BUCKETS, SIGNS)
        for table in (self.user, self.item, self.place):
            nn.init.normal_(table.weight, std=0.05)
        for bias in self.biases:
            nn.init.zeros_(bias.weight)  # pyright: ignore[reportArgumentType]
        with torch.no_grad():
            self.signs.weight.copy_(torch.sign(torch.randn(_BUCKETS, SIGNS)) / SIGNS**0.5)
        self.signs.weight.requires_grad_(False)
        inner = nn.Linear(6 + 3 * WIDTH + 3, 32)
        outer = nn.Linear(32, 1)
        self.mlp = nn.Sequential(inner, nn.ReLU(), outer)
        self.wide = nn.Linear(6, 1)
        for last in (outer, self.wide):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(self, batch: Batch) -> torch.Tensor:
        """Return log-odds, [B]."""
        ids, liked = batch.sparse, batch.sequence["affinity_items"]
        user, place = ids["user_id"] % _BUCKETS, ids["position"] % 16
        item = (ids["campaign"] % _CAMPAIGNS * _SPREAD + ids["item_id"] % _BUCKETS) % _BUCKETS
        sign = self.signs(ids["item_id"] % _BUCKETS)
        likes = embedding_bag(
            liked.values % _BUCKETS,
            self.signs.weight,
            liked.offsets,
            mode="sum",
            include_last_offset=True,
        )
        is_liked = (sign * likes).sum(1, keepdim=True)
        tables = [self.user(user), self.item(item), self.place(place)]
        dots = [(tables[a] * tables[b]).sum(1, keepdim=True) for a, b in ((0, 1), (0, 2), (1, 2))]
        wide = torch.cat([self._numbers(batch.dense), is_liked], dim=1)
        deep = self.mlp(torch.cat([wide, *tables, *dots], dim=1))
        pairs = zip(self.biases, (user, item, place), strict=True)
        bias = sum((table(at) for table, at in pairs), torch.logit(self.base_rate))
        return (bias + self.wide(wide) + deep).squeeze(1)

    def _numbers(self, dense: torch.Tensor) -> torch.Tensor:
        """Counts to logs, and clicks to log-ratios against the base rate."""
        shown_1d, shown_3d, clicks_1d, clicks_3d, sessions, watched = dense.unbind(1)
        base = self.base_rate

        def rate(clicks: torch.Tensor, shown: torch.Tensor) -> torch.Tensor:
            return ((clicks + _SMOOTH * base) / (shown + _SMOOTH) / base).clamp(0.05, 20.0).log()

        return torch.stack(
            [
                rate(clicks_1d, shown_1d),
                rate(clicks_3d, shown_3d),
                shown_3d.log1p() / 5.0 - 1.0,
                sessions.log1p() / 2.0 - 1.0,
                watched.log1p() / 8.0 - 0.5,
            ],
            dim=1,
        )
