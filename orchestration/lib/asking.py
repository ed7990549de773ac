"""When a sensor asks for a run again: Dagster launches one run for a run key, for ever.

A key made only of what waits would therefore leave it waiting once its run has failed. So each
attempt has a key of its own: the next one is asked for after a pause that doubles with every run
that ended badly. What waits again though its run succeeded, as after a rollback to where it was
asked for, is asked for again after the longest pause.
"""

import datetime as dt

import dagster as dg

ASKED = "headrace/asked"  # the same for every attempt at the same work
_RUN_KEY = "dagster/run_key"  # the tag that Dagster keeps a run key in
PAUSE_MIN, PAUSE_MAX = dt.timedelta(minutes=1), dt.timedelta(hours=1)
_ENDED_BADLY = {dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED}


def next_run_key(instance: dg.DagsterInstance, asked: str) -> str | None:
    """Give the key of the next attempt at `asked`; None while none is due.

    None is due while a run is queued or under way, and during the pause after one that succeeded or
    was a second or later failure. Runs must carry `asked` as their tag `ASKED`.
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
    """Say how long to wait after that many failures; the first is tried again at the next tick."""
    if attempts <= 1:
        return dt.timedelta()
    return min(PAUSE_MAX, PAUSE_MIN * 2 ** min(attempts - 2, 16))


def utc_now() -> dt.datetime:
    """Read the clock."""
    return dt.datetime.now(dt.UTC)
