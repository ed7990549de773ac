"""Narrow numbers to float32 and count overflows, so that none becomes infinite silently."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray


@contextmanager
def noting_overflow(note: Callable[[], None]) -> Generator[None]:
    """Call `note` after each numpy operation of this thread in which a number overflowed.

    numpy checks the processor's flags once per operation, so without overflows there is no cost per
    number.
    """
    with np.errstate(over="call", call=lambda _kind, _flag: note()):
        yield


def count_overflow(wide: NDArray[Any], narrow: NDArray[Any]) -> int:
    """Count the finite numbers of `wide` that are infinite in its cast `narrow`."""
    return int(np.count_nonzero(np.isinf(narrow) & np.isfinite(wide)))


def told(counts: dict[str, int]) -> str:
    """Return the warning about overflows, by column."""
    listed = ", ".join(f"{count} of `{name}`" for name, count in sorted(counts.items()))
    return (
        f"numbers beyond the range of float32 became infinite: {listed}; scale those columns down, "
        "or leave them out"
    )
