"""Numbers to float32: what is too large for it is counted, never turned to infinity unsaid."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray


@contextmanager
def noting_overflow(note: Callable[[], None]) -> Generator[None]:
    """Call `note` after each numpy operation of this thread in which a number became too large.

    numpy looks at the processor's flags once an operation, so where nothing is too large this
    costs nothing a number.
    """
    with np.errstate(over="call", call=lambda _kind, _flag: note()):
        yield


def count_overflow(wide: NDArray[Any], narrow: NDArray[Any]) -> int:
    """Count the finite numbers of `wide` that are infinite in `narrow`, its cast."""
    return int(np.count_nonzero(np.isinf(narrow) & np.isfinite(wide)))


def told(counts: dict[str, int]) -> str:
    """Say what became of numbers that were too large, by column."""
    listed = ", ".join(f"{count} of `{name}`" for name, count in sorted(counts.items()))
    return (
        f"numbers beyond the range of float32 became infinite: {listed}; scale those columns down, "
        "or leave them out"
    )
