"""What the C library keeps of memory that was freed, and how it is given back."""

import ctypes
from functools import cache


def give_back() -> None:
    """Give memory that was freed, and is kept for later, back to the system.

    glibc keeps it for each thread: what a Kafka client fetched ahead stays, once for each client that
    there was, though all of them are closed. Other C libraries have no such call; nothing is done there.
    """
    trim = getattr(_library(), "malloc_trim", None)
    if trim is not None:
        trim(0)


@cache
def _library() -> ctypes.CDLL:
    return ctypes.CDLL(None)
