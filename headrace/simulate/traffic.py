"""The traffic model: which users visit when, what is shown, clicked and watched.

Pure: a slice is a function of the plan and its number, except for the running numbers of sessions
and impressions. Times here are event times; `arrival` decides how events arrive.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from headrace.simulate.delays import CLICK_DELAY, CLICK_EDGES, EDGE_PPM, WATCH_DELAY, WATCH_EDGES
from headrace.simulate.draws import (
    Draws,
    Flags,
    Ints,
    Quantiles,
    Weights,
    firsts,
    joined,
    mix,
    spread,
)
from headrace.simulate.plan import (
    CAMPAIGNS,
    MINUTE_US,
    PAGE_SIZES,
    SECOND_US,
    SimulationPlan,
    SlicePlan,
)

SEGMENTS = tuple(
    f"{region}/{device}"
    for region in ("africa", "americas", "asia", "europe")
    for device in ("mobile", "desktop", "tv")
)
AFFINITIES = 3
FIRST_USER = 1_000

_SIZES = np.array(PAGE_SIZES, dtype=np.int64)
_PAGES = np.array([1, 1, 1, 2, 2, 3, 3, 4, 5, 8], dtype=np.int64)
_GAP = Quantiles(
    (0, 2 * SECOND_US), (500_000, 12 * SECOND_US), (900_000, MINUTE_US), (1_000_000, 5 * MINUTE_US)
)
# Click probability by slot, before item, user and affinity are taken into account.
_SLOT_PPM = np.array([60, 46, 37, 30, 25, 21, 18, 16], dtype=np.int64) * 1_000
_WATCH_PPM = 300_000
_SECOND_CLICK_PPM = 20_000


@dataclass(frozen=True, kw_only=True)
class Sessions:
    """One row per visit; `user` counts from 0, most active first."""

    number: Ints
    user: Ints
    campaign: Ints
    explores: Flags
    start_us: Ints
    affinity: Ints  # [sessions, AFFINITIES] item ids; meaningless where not `known`
    known: Flags


@dataclass(frozen=True, kw_only=True)
class Pages:
    """One row per page view, in the order of sessions; `first_row` is its top impression."""

    session: Ints
    size: Ints
    first_row: Ints
    last_us: Ints
    gap_us: Ints  # from the last impression to the next page's first
    has_next: Flags


@dataclass(frozen=True, kw_only=True)
class Impressions:
    """One row per impression, in the order of pages."""

    number: Ints
    page: Ints
    session: Ints
    item_id: Ints
    position: Ints
    shown_at: Ints


@dataclass(frozen=True, kw_only=True)
class Clicks:
    """One row per click; `row` is the impression's row in the same slice.

    `chance_ppm` has a row per impression: how likely its first click was, before it was drawn.
    """

    row: Ints
    ordinal: Ints
    clicked_at: Ints
    chance_ppm: Ints


@dataclass(frozen=True, kw_only=True)
class Watches:
    """One row per long watch; it ends at `watched_at`."""

    row: Ints
    watched_at: Ints
    seconds: Ints


@dataclass(frozen=True, kw_only=True)
class Slice:
    """All events of the visits that start in one time span."""

    plan: SlicePlan
    sessions: Sessions
    pages: Pages
    impressions: Impressions
    clicks: Clicks
    watches: Watches


class Traffic:
    """Yields the slices of a plan in order of time.

    Memory holds one slice and the users, never the whole run.
    """

    def __init__(self, plan: SimulationPlan) -> None:
        self._plan = plan
        # Zipf with a flat head: the most active user visits several times a day, not hundreds.
        self._people = Weights.zipf(plan.users, shift=3 + plan.users // 50)
        self._items = Weights.zipf(plan.items, shift=5).quick()
        self._sessions = 0
        self._impressions = 0

    def slices(self) -> Iterator[Slice]:
        """Generate every slice; call once."""
        for piece in self._plan.slices():
            if piece.impressions:
                yield self._slice(piece)

    def _slice(self, piece: SlicePlan) -> Slice:
        draws = Draws(self._plan.seed, piece.number, 0)
        sessions, pages_each, rows_each = self._visits(draws, piece)
        pages, shown_at = _pages(draws, sessions, pages_each=pages_each, rows_each=rows_each)
        impressions = self._shown(draws, sessions, pages=pages, shown_at=shown_at)
        clicks = _clicks(draws, sessions, impressions=impressions)
        watches = _watches(draws, clicks, shown_at=shown_at)
        return Slice(
            plan=piece,
            sessions=sessions,
            pages=pages,
            impressions=impressions,
            clicks=clicks,
            watches=watches,
        )

    def _visits(self, draws: Draws, piece: SlicePlan) -> tuple[Sessions, Ints, Ints]:
        """Draw sessions until their impressions fill the slice exactly; the last is truncated."""
        most = piece.impressions // int(_SIZES.min()) + 1
        campaign = draws.chance(350_000, size=most).astype(np.int64)
        pages = _PAGES[draws.below(_PAGES.size, size=most)]
        ends = np.cumsum(pages * _SIZES[campaign])
        count = int(np.searchsorted(ends, piece.impressions)) + 1
        campaign, pages = campaign[:count], pages[:count]
        rows = pages * _SIZES[campaign]
        rows[-1] -= int(ends[count - 1]) - piece.impressions
        pages = -(-rows // _SIZES[campaign])

        user = draws.pick(self._people, size=count)
        trait = mix(user, salt=1)
        favourites = mix(np.add.outer(user * AFFINITIES, np.arange(AFFINITIES)), salt=2)
        sessions = Sessions(
            number=self._sessions + np.arange(count, dtype=np.int64),
            user=user,
            campaign=campaign,
            explores=trait % 5 == 0,
            start_us=np.sort(_starts(draws, piece, count=count)),
            affinity=self._items[favourites & (self._items.size - 1)],
            known=trait // 5 % 5 > 0,
        )
        self._sessions += count
        return sessions, pages, rows

    def _shown(
        self, draws: Draws, sessions: Sessions, *, pages: Pages, shown_at: Ints
    ) -> Impressions:
        page = spread(pages.size)
        session = pages.session[page]
        rows = page.size
        popular = draws.quick(self._items, size=rows)
        anything = draws.below(self._plan.items, size=rows)
        liked = sessions.affinity[session, draws.below(AFFINITIES, size=rows)]
        by_taste = sessions.known[session] & draws.chance(250_000, size=rows)
        item = np.where(by_taste, liked, popular)
        impressions = Impressions(
            number=self._impressions + np.arange(rows, dtype=np.int64),
            page=page,
            session=session,
            item_id=np.where(sessions.explores[session], anything, item),
            position=np.arange(rows, dtype=np.int64) - pages.first_row[page] + 1,
            shown_at=shown_at,
        )
        self._impressions += rows
        return impressions


def segment_of(user: Ints) -> Ints:
    """Return the index in `SEGMENTS` of each user."""
    return mix(user, salt=3) % len(SEGMENTS)


def _starts(draws: Draws, piece: SlicePlan, *, count: int) -> Ints:
    weights = Weights(np.array([cell.impressions for cell in piece.cells], dtype=np.int64))
    cell_start = np.array([cell.start_us for cell in piece.cells], dtype=np.int64)
    cell = draws.pick(weights, size=count)
    return cell_start[cell] + draws.below(piece.cells[0].width_us, size=count)


def _pages(
    draws: Draws, sessions: Sessions, *, pages_each: Ints, rows_each: Ints
) -> tuple[Pages, Ints]:
    """Create the pages of each session, and the times of their impressions."""
    session = spread(pages_each)
    count = session.size
    full = _SIZES[sessions.campaign[session]]
    within = np.arange(count, dtype=np.int64) - firsts(pages_each)[session]
    size = np.minimum(full, rows_each[session] - within * full)
    page = spread(size)
    step = 20_000 + draws.below(400_000, size=count)
    gap = draws.quantile(_GAP, size=count)
    position = np.arange(page.size, dtype=np.int64) - firsts(size)[page]
    # Impressions of a page follow each other by `step`, each up to half a step late.
    offset = position * step[page] + draws.below(step[page] // 2, size=page.size)
    last_row = np.cumsum(size) - 1
    duration = offset[last_row] + gap
    elapsed = np.cumsum(duration) - duration
    first_us = sessions.start_us[session] + elapsed - elapsed[firsts(pages_each)][session]
    pages = Pages(
        session=session,
        size=size,
        first_row=firsts(size),
        last_us=first_us + offset[last_row],
        gap_us=gap,
        has_next=within + 1 < pages_each[session],
    )
    return pages, first_us[page] + offset


def _clicks(draws: Draws, sessions: Sessions, *, impressions: Impressions) -> Clicks:
    item, session = impressions.item_id, impressions.session
    campaign = sessions.campaign[session]
    appeal = 40 + mix(item * len(CAMPAIGNS) + campaign, salt=4) % 160
    eager = (60 + mix(sessions.user, salt=5) % 100)[session]
    liked = (sessions.affinity[session] == item[:, None]).any(axis=1) & sessions.known[session]
    ppm = _SLOT_PPM[impressions.position - 1] * appeal // 100 * eager // 100
    ppm = np.where(liked, 3 * ppm, ppm)
    row = np.flatnonzero(draws.chance(ppm, size=item.size))
    delay = draws.quantile(CLICK_DELAY, size=row.size)
    edge = CLICK_EDGES[draws.below(CLICK_EDGES.size, size=row.size)]
    delay = np.where(draws.chance(EDGE_PPM, size=row.size), edge, delay)
    clicked_at = impressions.shown_at[row] + delay
    again = np.flatnonzero(draws.chance(_SECOND_CLICK_PPM, size=row.size))
    later = clicked_at[again] + SECOND_US + draws.below(3 * SECOND_US, size=again.size)
    return Clicks(
        row=joined((row, row[again])),
        ordinal=joined((np.zeros_like(row), np.ones_like(again))),
        clicked_at=joined((clicked_at, later)),
        chance_ppm=ppm,
    )


def _watches(draws: Draws, clicks: Clicks, *, shown_at: Ints) -> Watches:
    chosen = draws.chance(_WATCH_PPM, size=clicks.row.size) & (clicks.ordinal == 0)
    row, clicked_at = clicks.row[chosen], clicks.clicked_at[chosen]
    watched_at = clicked_at + draws.quantile(WATCH_DELAY, size=row.size)
    edge = shown_at[row] + WATCH_EDGES[draws.below(WATCH_EDGES.size, size=row.size)]
    watched_at = np.where(draws.chance(EDGE_PPM, size=row.size), edge, watched_at)
    return Watches(row=row, watched_at=watched_at, seconds=(watched_at - clicked_at) // SECOND_US)
