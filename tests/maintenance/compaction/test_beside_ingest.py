"""Compaction beside a writer in another process."""

import pytest

from headrace.api import Lake
from headrace.config import Settings
from headrace.maintenance.compaction.compact import compact
from tests.processes import CONTEXT
from tests.tables.factories import add, events_table, ids_of
from tests.waiting import WAIT_S

pytestmark = pytest.mark.slow


def _append(settings: Settings, count: int) -> None:
    with Lake.open(settings) as lake:
        table = events_table(lake)
        for i in range(count):
            add(table, [i], day=i % 2)


def test_a_running_ingest_and_repeated_compaction_lose_and_double_nothing(
    settings: Settings,
) -> None:
    rows = 40
    with Lake.open(settings) as lake:
        table = events_table(lake)
        writer = CONTEXT.Process(target=_append, args=(settings, rows))
        writer.start()
        compactions = 0
        while writer.is_alive():
            compactions += compact(table).changed
        writer.join(WAIT_S)
        assert writer.exitcode == 0
        compact(table)
        assert compactions >= 1
        assert ids_of(table) == list(range(rows))
        assert len(table.head().files()) == 2
