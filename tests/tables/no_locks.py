"""Locks that keep nobody out, as between hosts that share a lake but not its locks."""

from collections.abc import Generator
from contextlib import contextmanager

from headrace.identifiers import TableName
from headrace.tables.locks import WAIT_S_MAX


class NoLocks:
    """Every lock is free at any time."""

    @contextmanager
    def hold(self, _name: TableName | str, *, wait_s_max: float = WAIT_S_MAX) -> Generator[None]:
        """Hold nothing."""
        del wait_s_max
        yield
