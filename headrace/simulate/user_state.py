"""The user-state feature: rows of a streaming job about each user, and their delay.

Rows describe the trailing week as of a page view. They are published during the session, so that
rows regularly arrive after impressions they would have described. Edge cases of the point-in-time
rule are added at known rates.
"""

from dataclasses import dataclass

import numpy as np

from headrace.simulate.arrival import STATE_ON_TIME, lags
from headrace.simulate.draws import Draws, Ints, Quantiles, firsts, joined, mix
from headrace.simulate.plan import (
    DAY_US,
    HOUR_US,
    MINUTE_US,
    SECOND_US,
    STATE_TTL_US,
    SimulationPlan,
)
from headrace.simulate.traffic import Slice

_DAYS = 7
_PUBLISHED_PPM = 500_000
# Edge cases per million rows: known within 1 µs of a later impression of the same session; sent
# again later with another value; sent twice at the same time with two values.
_EDGE_PPM = 60_000
_REVISED_PPM = 30_000
_TIED_PPM = 10_000
_TTL_EDGE_PPM = 400_000
_REVISION_LAG = Quantiles(
    (0, 2 * SECOND_US), (500_000, 2 * MINUTE_US), (900_000, HOUR_US), (1_000_000, 6 * HOUR_US)
)


@dataclass(frozen=True, kw_only=True)
class States:
    """Feature rows; rows with equal `as_of` and `received_at` are in the order they were sent."""

    user: Ints
    as_of: Ints
    received_at: Ints
    sessions_7d: Ints
    watch_seconds_7d: Ints

    def take(self, rows: Ints, **changes: Ints) -> "States":
        """Copy the given rows with some columns replaced."""
        columns = {name: column[rows] for name, column in vars(self).items()}
        return States(**(columns | changes))


class UserStates:
    """Carries the last seven days of each user from slice to slice: 56 bytes per user."""

    def __init__(self, plan: SimulationPlan) -> None:
        self._plan = plan
        self._sessions = np.zeros((plan.users, _DAYS), dtype=np.int32)
        self._seconds = np.zeros((plan.users, _DAYS), dtype=np.int32)
        self._day = 0
        self._begun = False

    def of(self, traffic: Slice) -> States:
        """Derive the feature rows of one slice; call once per slice, in order."""
        draws = Draws(self._plan.seed, traffic.plan.number, 1)
        parts: list[States] = []
        if not self._begun:
            self._begun = True
            parts.append(self._history(draws, traffic))
        while self._day < traffic.plan.day:
            self._day += 1
            self._sessions[:, self._day % _DAYS] = 0
            self._seconds[:, self._day % _DAYS] = 0
        parts.append(self._published(draws, traffic))
        return _with_revisions(draws, _joined(parts))

    def _history(self, draws: Draws, traffic: Slice) -> States:
        """Return rows from before the traffic starts, some older than the TTL.

        A few are exactly one TTL older than the user's first impression, or 1 µs off.
        """
        people = np.arange(self._plan.users, dtype=np.int64)
        user = people[mix(people, salt=6) % 4 == 0]
        age = SECOND_US + draws.below(8 * DAY_US - SECOND_US, size=user.size)
        as_of = self._plan.start_us - age
        never = np.iinfo(np.int64).max
        first = np.full(self._plan.users, never, dtype=np.int64)
        seen = traffic.impressions
        np.minimum.at(first, traffic.sessions.user[seen.session], seen.shown_at)
        edge = draws.chance(_TTL_EDGE_PPM, size=user.size) & (first[user] < never)
        off_by = draws.below(3, size=user.size) - 1
        as_of = np.where(edge, first[user] - STATE_TTL_US + off_by, as_of)
        as_of = np.minimum(as_of, self._plan.start_us - 1)

        sessions = 1 + draws.below(6, size=user.size)
        seconds = draws.below(5_000, size=user.size)
        day = (as_of - self._plan.start_us) // DAY_US
        recent = day > -_DAYS
        self._sessions[user[recent], day[recent] % _DAYS] = sessions[recent]
        self._seconds[user[recent], day[recent] % _DAYS] = seconds[recent]
        lag = lags(draws, self._plan.rates, on_time=STATE_ON_TIME, size=user.size)
        return States(
            user=user,
            as_of=as_of,
            received_at=as_of + lag,
            sessions_7d=sessions,
            watch_seconds_7d=seconds,
        )

    def _published(self, draws: Draws, traffic: Slice) -> States:
        sessions, pages = traffic.sessions, traffic.pages
        seconds_by_page = np.zeros(pages.session.size, dtype=np.int64)
        watches = traffic.watches
        np.add.at(seconds_by_page, traffic.impressions.page[watches.row], watches.seconds)
        running = np.cumsum(seconds_by_page)
        pages_each = np.bincount(pages.session, minlength=sessions.user.size)
        before = (running - seconds_by_page)[firsts(pages_each)]
        in_session = running - before[pages.session]
        whole = running[np.cumsum(pages_each) - 1] - before

        ones = np.ones_like(sessions.user)
        past_sessions = self._past(self._sessions, sessions.user, sessions.start_us, ones)
        past_seconds = self._past(self._seconds, sessions.user, sessions.start_us, whole)

        page = np.flatnonzero(draws.chance(_PUBLISHED_PPM, size=pages.session.size))
        session = pages.session[page]
        as_of = pages.last_us[page] + draws.below(pages.gap_us[page] // 2, size=page.size)
        elapsed = (as_of - sessions.start_us[session]) // SECOND_US
        lag = lags(draws, self._plan.rates, on_time=STATE_ON_TIME, size=page.size)
        return States(
            user=sessions.user[session],
            as_of=as_of,
            received_at=_plant_edges(draws, traffic, page=page, received_at=as_of + lag),
            sessions_7d=past_sessions[session] + 1,
            watch_seconds_7d=past_seconds[session] + np.minimum(in_session[page], elapsed),
        )

    def _past(self, ring: np.ndarray, user: Ints, start_us: Ints, amount: Ints) -> Ints:
        """Sum the trailing week before each session, then add the sessions' own amounts."""
        order = np.lexsort((start_us, user))
        ordered_user, ordered_amount = user[order], amount[order]
        earlier = np.cumsum(ordered_amount) - ordered_amount
        leads = np.flatnonzero(np.diff(ordered_user, prepend=-1))
        lengths = np.diff(leads, append=order.size)
        past = np.empty_like(user)
        past[order] = earlier - np.repeat(earlier[leads], lengths)
        past += ring[user].sum(axis=1, dtype=np.int64)
        np.add.at(ring[:, self._day % _DAYS], user, amount)
        return past


def _plant_edges(draws: Draws, traffic: Slice, *, page: Ints, received_at: Ints) -> Ints:
    """Make some rows known exactly when a next-page impression is shown, or 1 µs off."""
    pages = traffic.pages
    following = np.minimum(page + 1, pages.session.size - 1)
    row = pages.first_row[following] + draws.below(pages.size[following], size=page.size)
    moment = traffic.impressions.shown_at[row] + draws.below(3, size=page.size) - 1
    edge = draws.chance(_EDGE_PPM, size=page.size) & pages.has_next[page]
    return np.where(edge, moment, received_at)


def _with_revisions(draws: Draws, rows: States) -> States:
    size = rows.user.size
    revised = np.flatnonzero(draws.chance(_REVISED_PPM, size=size))
    lag = draws.quantile(_REVISION_LAG, size=revised.size)
    tied = np.flatnonzero(draws.chance(_TIED_PPM, size=size))
    more = 1 + draws.below(600, size=revised.size + tied.size)
    seconds = rows.watch_seconds_7d
    return _joined(
        [
            rows,
            rows.take(
                revised,
                received_at=rows.received_at[revised] + lag,
                watch_seconds_7d=seconds[revised] + more[: revised.size],
            ),
            rows.take(tied, watch_seconds_7d=seconds[tied] + more[revised.size :]),
        ]
    )


def _joined(parts: list[States]) -> States:
    names = vars(parts[0])
    return States(**{name: joined([vars(part)[name] for part in parts]) for name in names})
