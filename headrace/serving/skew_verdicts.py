"""What a served value is beside the one of training, and the causes of a difference."""

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from headrace.serving.logged import Logged

Verdict: TypeAlias = Literal["equal", "different", "missing", "extra"]
Cause: TypeAlias = Literal[
    "late_arrival",
    "definition",
    "ttl",
    "tie",
    "missing",
    "staleness",
    "superseded",
    "type",
    "removed",
    "unknown",
]
SNAPSHOTS_MAX = 200  # looked at for causes of one view; what is left is `unknown`


@dataclass(frozen=True, kw_only=True)
class Mismatch:
    """One served value that the training rule does not give, with both and the cause."""

    request_id: str
    row: int
    at: dt.datetime
    feature: str
    view: str
    verdict: Verdict
    cause: Cause
    served: Any
    expected: Any


def compared(
    logged: Logged, expected: Sequence[Any], *, view: str, names: Sequence[str], cause: Cause
) -> Iterator[Mismatch]:
    """Yield one row's values of a view with their verdicts, also those that are equal.

    Args:
        logged: The row.
        expected: What training has, by column.
        view: The view.
        names: The columns' names in training.
        cause: Of the values that differ, unless a value alone tells another one.

    """
    for name, value in zip(names, expected, strict=True):
        served = logged.values.get(name)
        found = verdict(served, value)
        yield Mismatch(
            request_id=logged.request_id,
            row=logged.row,
            at=logged.at,
            feature=name,
            view=view,
            verdict=found,
            cause="type" if found == "different" and same_number(served, value) else cause,
            served=served,
            expected=value,
        )


def verdict(served: Any, expected: Any) -> Verdict:  # noqa: ANN401  (JSON)
    """Compare two values of JSON: equal ones have one type too."""
    if served is None and expected is None:
        return "equal"
    if served is None:
        return "missing"
    if expected is None:
        return "extra"
    return "equal" if type(served) is type(expected) and served == expected else "different"


def same_number(served: Any, expected: Any) -> bool:  # noqa: ANN401  (JSON)
    """Whether both are one number, maybe of different types."""
    both = isinstance(served, int | float) and isinstance(expected, int | float)
    return both and served == expected
