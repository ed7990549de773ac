"""Run keys with which sensors can retry: Dagster launches at most one run per run key, ever.

A key derived only from the pending work would never be retried after its run failed. So each
attempt gets its own key, and the pause before the next attempt doubles with each failed run. If the
same work is pending again although its run succeeded, for example after a rollback, it is requested
again after the longest pause.
"""

import datetime as dt

import dagster as dg

ASKED = "headrace/asked"  # run tag; the same for every attempt at the same work
_RUN_KEY = "dagster/run_key"  # the run tag in which Dagster stores the run key
PAUSE_MIN, PAUSE_MAX = dt.timedelta(minutes=1), dt.timedelta(hours=1)
_ENDED_BADLY = {dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED}


def next_run_key(instance: dg.DagsterInstance, asked: str) -> str | None:
    """Return the run key of the next attempt at `asked`; None while no attempt is due.

    No attempt is due while a run is queued or in progress, nor during the pause after a success or
    after the second or a later failure. Runs must carry `asked` in their tag `ASKED`.
    """
    tagged = dg.RunsFilter(tags={ASKED: asked})
    records = instance.get_run_records(tagged, limit=1) or instance.get_run_records(
        dg.RunsFilter(tags={_RUN_KEY: asked}), limit=1
    )
    if not records:
        return asked
    (newest,) = records
    status = newest.dagster_run.status
    if not newest.dagster_run.is_finished:
        return None
    attempts = max(1, instance.get_runs_count(tagged))
    ended = dt.datetime.fromtimestamp(newest.end_time or 0, tz=dt.UTC)
    pause = pause_after(attempts) if status in _ENDED_BADLY else PAUSE_MAX
    if utc_now() < ended + pause:
        return None
    return f"{asked}:{attempts + 1}"


def pause_after(attempts: int) -> dt.timedelta:
    """Return the pause after that many failures; the first is retried at the next tick."""
    if attempts <= 1:
        return dt.timedelta()
    return min(PAUSE_MAX, PAUSE_MIN * 2 ** min(attempts - 2, 16))


def utc_now() -> dt.datetime:
    """Return the current time in UTC."""
    return dt.datetime.now(dt.UTC)
