"""How checks of tables ended when they last ran, so that pages can show it without an orchestrator."""

import datetime as dt
from dataclasses import dataclass

import sqlalchemy as sa

from headrace.registry.registry import Registry
from headrace.registry.schema import MEASURES

_PREFIX = "check:"
_PASSED, _FAILED = 0, 1


@dataclass(frozen=True, kw_only=True)
class FailedCheck:
    """A check that failed when it last ran; `subject` is a table, or a dataset as in `datasets.ctr`."""

    subject: str
    check: str
    at: dt.datetime


def record_check(registry: Registry, subject: str, check: str, *, passed: bool) -> None:
    """Record how a check ended, replacing its older record."""
    now_ms = int(dt.datetime.now(dt.UTC).timestamp() * 1000)
    value = _PASSED if passed else _FAILED
    registry.record_measure(subject, f"{_PREFIX}{check}", value, measured_at_ms=now_ms)


def failed_checks(registry: Registry) -> list[FailedCheck]:
    """List the checks that failed when they last ran, by subject and name."""
    query = sa.select(MEASURES).where(
        MEASURES.c.name.startswith(_PREFIX), MEASURES.c.value == _FAILED
    )
    with registry.engine.connect() as connection:
        rows = connection.execute(query).mappings().all()
    found = [
        FailedCheck(
            subject=row["table_name"],
            check=row["name"].removeprefix(_PREFIX),
            at=dt.datetime.fromtimestamp(row["measured_at_ms"] / 1000, dt.UTC),
        )
        for row in rows
    ]
    return sorted(found, key=lambda each: (each.subject, each.check))
