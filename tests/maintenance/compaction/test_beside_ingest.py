"""Compaction beside a writer in another process."""

import itertools
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Event

import pytest

from headrace.api import Lake
from headrace.config import Settings
from headrace.maintenance.compaction.compact import compact
from tests.processes import CONTEXT
from tests.tables.factories import add, events_table, ids_of
from tests.waiting import WAIT_S

pytestmark = pytest.mark.slow
ROWS = 40


def append_until(settings: Settings, rows: "Synchronized[int]", is_enough: Event) -> None:
    """Append row by row, `ROWS` and more until it is enough, and count them."""
    with Lake.open(settings) as lake:
        table = events_table(lake)
        for number in itertools.count():
            if number >= ROWS and is_enough.is_set():
                return
            add(table, [number], day=number % 2)
            rows.value = number + 1


def test_a_running_ingest_and_repeated_compaction_lose_and_double_nothing(
    settings: Settings,
) -> None:
    rows, is_enough = CONTEXT.Value("i", 0), CONTEXT.Event()
    with Lake.open(settings) as lake:
        table = events_table(lake)
        writer = CONTEXT.Process(target=append_until, args=(settings, rows, is_enough))
        writer.start()
        while writer.is_alive():
            if compact(table).changed:
                is_enough.set()
        writer.join(WAIT_S)
        assert writer.exitcode == 0
        compact(table)
        assert rows.value >= ROWS
        assert ids_of(table) == list(range(rows.value))
        assert len(table.head().files()) == 2
