"""What the Serving page shows of a serving log; plain facts."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class FeatureSkewFacts:
    """How many served values of a feature are as in training, and the causes of the others."""

    feature: str
    equal: int
    causes: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class ValueFacts:
    """One value of a request beside the one of training, with the row that it came from."""

    feature: str
    view: str
    served: str
    training: str
    verdict: str
    cause: str
    status: str
    event_time: dt.datetime | None
    known_at: dt.datetime | None
    snapshot: str


@dataclass(frozen=True, kw_only=True)
class RequestFacts:
    """One request of the log."""

    request_id: str
    sample_set: str
    served_at: dt.datetime
    at: dt.datetime
    rows: int
    took_ms: float | None


@dataclass(frozen=True, kw_only=True)
class ServingFacts:
    """The newest requests of one serving log, replayed; `error` says why they could not be.

    `skew` has the features of each sample set; `rows` counts the rows that were replayed.
    """

    stream: str
    table: str
    requests: Sequence[RequestFacts] = ()
    rows: int = 0
    skew: Mapping[str, Sequence[FeatureSkewFacts]]
    error: str = ""

    @property
    def took_ms(self) -> list[float]:
        """How long the requests took, shortest first."""
        return sorted(each.took_ms for each in self.requests if each.took_ms is not None)


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the smallest of some numbers in order that at least this share does not exceed."""
    at = max(0, -(-len(ordered) * round(share * 100) // 100) - 1)
    return ordered[at]
