"""What Arrow and the C library keep of memory that was freed, and how it is given back."""

import ctypes
from functools import cache

import pyarrow as pa


def give_back() -> None:
    """Give memory that was freed, and is kept for later, back to the system.

    Arrow keeps it for what comes next, and glibc for each thread: what a Kafka client fetched ahead
    stays, once for each client that there was, though all of them are closed. Other C libraries have no
    such call; nothing is done there.
    """
    pa.default_memory_pool().release_unused()
    trim = getattr(_library(), "malloc_trim", None)
    if trim is not None:
        trim(0)


@cache
def _library() -> ctypes.CDLL:
    return ctypes.CDLL(None)
