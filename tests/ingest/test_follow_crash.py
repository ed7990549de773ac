"""Services killed at every write boundary, competing, and beside maintenance: nothing lost, nothing twice."""

import os
import random
import signal
import time
from multiprocessing.process import BaseProcess

import pytest

from headrace import clock
from headrace.api import Lake
from headrace.ingest import dead_letters
from headrace.ingest.audit import plan_audit, run_audit
from headrace.maintenance.compaction.compact import compact
from headrace.tables.commits.operations import expire
from tests.amounts import seed_of_today
from tests.ingest.factories import dead_of, rows_of
from tests.ingest.followers import PARTITIONS, STREAM, expected, start_follower
from tests.ingest.processes import FENCED
from tests.ingest.test_crash import POINTS
from tests.processes import CONTEXT, exit_code
from tests.waiting import WAIT_S, wait_until

pytestmark = pytest.mark.slow

RECORDS = 60
RECORDS_OF_ONE_KILL = 24  # more commits than the one it is killed at


def counts(lake: Lake) -> tuple[int, int]:
    if not (lake.exists(STREAM.table) and lake.exists(dead_letters.TABLE)):  # made one by one
        return 0, 0
    return rows_of(lake, STREAM).num_rows, dead_of(lake, STREAM).num_rows


def finish(lake: Lake, service: BaseProcess, *, records: int = RECORDS) -> None:
    """Wait until a service has taken everything, end it, and audit."""
    assert wait_until(lambda: counts(lake) == expected(records), seconds=WAIT_S), counts(lake)
    terminate(service)
    assert exit_code(service) == 0
    audit(lake, records=records)


def audit(lake: Lake, *, records: int = RECORDS) -> None:
    found = run_audit(lake, plan_audit(lake, STREAM))
    assert found.error() is None
    assert [each.consumed for each in found.partitions] == [records + 1] * PARTITIONS
    assert counts(lake) == expected(records)


def terminate(service: BaseProcess) -> None:
    assert service.pid is not None
    os.kill(service.pid, signal.SIGTERM)


@pytest.mark.parametrize("kills", [1, pytest.param(5, marks=pytest.mark.proof, id="5 kills")])
@pytest.mark.parametrize("point", POINTS)
def test_a_service_killed_anywhere_goes_on_from_the_table(
    lake: Lake, point: str, kills: int
) -> None:
    records = RECORDS_OF_ONE_KILL if kills == 1 else RECORDS
    first = 2 + POINTS.index(point) % 2  # of commits, odd ones are those of the dead letters
    for passage in range(first, first + kills):
        killed = start_follower(lake.settings, records=records, crash_at=f"{point}:{passage}")
        assert exit_code(killed) == -9, "the crash point was never passed"
    finish(lake, start_follower(lake.settings, records=records), records=records)


@pytest.mark.parametrize("services", [2, pytest.param(8, marks=pytest.mark.proof, id="8 services")])
def test_of_services_that_compete_one_wins_and_the_others_are_fenced(
    lake: Lake, services: int
) -> None:
    together = CONTEXT.Barrier(services)
    running = [
        start_follower(lake.settings, records=RECORDS, together=together) for _ in range(services)
    ]
    fenced = lambda: sum(each.exitcode == FENCED for each in running)
    assert wait_until(lambda: fenced() == services - 1, seconds=WAIT_S)
    (winner,) = [each for each in running if each.exitcode is None]
    finish(lake, winner)


@pytest.mark.parametrize("kills", [3, pytest.param(100, marks=pytest.mark.proof, id="100 kills")])
def test_services_killed_at_random_beside_compaction_and_expiry(lake: Lake, kills: int) -> None:
    rng = random.Random(f"{seed_of_today()} {kills}")
    records = 40 + 10 * kills
    for _ in range(kills):
        service = start_follower(lake.settings, records=records)
        time.sleep(rng.uniform(0.05, 0.5))
        for name in (str(STREAM.table), "dead_letters.records"):
            if lake.exists(name):
                table = lake.table(name)
                if rng.random() < 0.5:
                    compact(table)
                expire(table, keep=2, before_ms=clock.now_ms())
        service.kill()
        assert exit_code(service) == -9
    finish(lake, start_follower(lake.settings, records=records), records=records)
