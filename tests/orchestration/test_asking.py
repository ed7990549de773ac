"""When the same work is asked for again."""

import datetime as dt
from itertools import pairwise

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test

from orchestration.lib import asking
from orchestration.lib.asking import ASKED, PAUSE_MAX, next_run_key, pause_after

HOUR = dt.timedelta(hours=1)


def end_a_run(instance: dg.DagsterInstance, status: dg.DagsterRunStatus, *, key: str) -> None:
    run = create_run_for_test(instance, tags={ASKED: "work", "dagster/run_key": key})
    started = dg.DagsterEventType.RUN_START
    ended = {
        dg.DagsterRunStatus.FAILURE: dg.DagsterEventType.RUN_FAILURE,
        dg.DagsterRunStatus.CANCELED: dg.DagsterEventType.RUN_CANCELED,
        dg.DagsterRunStatus.SUCCESS: dg.DagsterEventType.RUN_SUCCESS,
    }
    for event in (started, *([ended[status]] if status in ended else [])):
        instance.report_dagster_event(dg.DagsterEvent(event.value, "job"), run.run_id)


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED])
def test_each_attempt_after_a_run_that_ended_badly_has_a_key_of_its_own(
    status: dg.DagsterRunStatus, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = dt.datetime.now(dt.UTC) + HOUR
    monkeypatch.setattr(asking, "utc_now", lambda: later)
    with dg.DagsterInstance.ephemeral() as instance:
        keys: list[str] = []
        for _ in range(4):
            key = next_run_key(instance, "work")
            assert key is not None
            keys.append(key)
            end_a_run(instance, status, key=key)
    assert keys == ["work", "work:2", "work:3", "work:4"]


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.SUCCESS])
def test_nothing_is_asked_for_while_a_run_goes_on_or_after_it_succeeded(
    status: dg.DagsterRunStatus,
) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        end_a_run(instance, status, key="work")
        assert next_run_key(instance, "work") is None
        assert next_run_key(instance, "other work") == "other work"


def test_the_pause_doubles_from_the_second_failure_on_and_has_an_end() -> None:
    assert pause_after(1) == dt.timedelta()
    pauses = [pause_after(attempts) for attempts in range(2, 40)]
    assert all(later == min(2 * before, PAUSE_MAX) for before, later in pairwise(pauses))
    with dg.DagsterInstance.ephemeral() as instance:
        for key in ("work", "work:2"):
            end_a_run(instance, dg.DagsterRunStatus.FAILURE, key=key)
        assert next_run_key(instance, "work") is None


def test_what_waits_again_after_a_run_that_succeeded_is_asked_for_once_an_hour(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        end_a_run(instance, dg.DagsterRunStatus.SUCCESS, key="work")
        assert next_run_key(instance, "work") is None
        later = dt.datetime.now(dt.UTC) + PAUSE_MAX  # its table was rolled back since
        monkeypatch.setattr(asking, "utc_now", lambda: later)
        assert next_run_key(instance, "work") == "work:2"
        end_a_run(instance, dg.DagsterRunStatus.STARTED, key="work:2")
        assert next_run_key(instance, "work") is None
