"""Write a simulated lakehouse folder: declarations, data and truth."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from headrace.errors import FolderNotEmptyError
from headrace.simulate import render
from headrace.simulate.arrival import ON_TIME, Arrivals, TimeQueue, arrive, lags
from headrace.simulate.catalogue import write_catalogue
from headrace.simulate.declarations import declarations
from headrace.simulate.delays import click_in_window_ppm
from headrace.simulate.draws import Draws, Ints
from headrace.simulate.plan import DAY_US, SimulationPlan
from headrace.simulate.render import Form
from headrace.simulate.traffic import Slice, Traffic
from headrace.simulate.truth import StreamCounts, Truth, labels
from headrace.simulate.user_state import States, UserStates
from headrace.simulate.write import FileSink, Sink, write_declarations

if TYPE_CHECKING:
    from headrace.simulate.topics import TopicSink


@dataclass(frozen=True, kw_only=True)
class Topics:
    """The brokers that streams of JSON lines go to, each to a new topic of its name."""

    servers: str
    partitions: int = 4


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """The result of a simulation: what was written, and where."""

    folder: Path
    counts: Mapping[str, StreamCounts]


def simulate(
    folder: Path,
    plan: SimulationPlan,
    *,
    on_progress: Callable[[int], None] = lambda _impressions: None,
    topics: Topics | None = None,
) -> Simulation:
    """Write `folder/lake`, `folder/data` and `folder/truth`.

    Equal plans give byte-identical folders on every machine. Memory holds one slice of traffic,
    the records in transit and the users; it does not grow with the length of the run.

    Args:
        folder: Must not exist or be empty.
        plan: What to simulate.
        on_progress: Called with the number of impressions generated so far.
        topics: Where the streams of JSON lines go instead of files.

    Raises:
        TopicNotEmptyError: If a topic has records already; nothing was written.
        TopicUnreachableError: If the brokers do not answer.
        FolderNotEmptyError: If the folder is not empty; nothing was written.

    """
    if folder.exists() and any(folder.iterdir()):
        raise FolderNotEmptyError(str(folder))
    declared = declarations()
    data = folder / "data"
    files = FileSink(
        data,
        start_us=plan.start_us,
        end_us=plan.start_us + plan.days * DAY_US,
        landing_us=plan.landing_us,
    )
    opened: FileSink | TopicSink = files
    if topics is not None:
        from headrace.simulate import topics as of_topics  # needs an extra

        declared = of_topics.declared_as_topics(declared)
        opened = of_topics.TopicSink(files, servers=topics.servers, partitions=topics.partitions)
    write_declarations(folder / "lake", declared)
    items = write_catalogue(plan, data)
    with opened as sink:
        truth = Truth(folder / "truth", users=plan.users)
        pipeline = _Pipeline(plan, sink, truth)
        pipeline.run(on_progress)
    truth.close()
    counts = {**pipeline.counts, "items": StreamCounts(records=items, distinct=items)}
    truth.counts(counts)
    return Simulation(folder=folder, counts=counts)


class _Pipeline:
    """Passes traffic through arrival to the sink, and records the truth."""

    def __init__(self, plan: SimulationPlan, sink: Sink, truth: Truth) -> None:
        self._plan, self._sink, self._truth = plan, sink, truth
        self._states = UserStates(plan)
        self._arrivals = {form.stream: TimeQueue("received_at") for form in render.FORMS}
        self._asked = TimeQueue("event_time")
        self.counts = {form.stream: StreamCounts() for form in render.FORMS}

    def run(self, on_progress: Callable[[int], None]) -> None:
        done = 0
        held: Slice | None = None
        for following in Traffic(self._plan).slices():
            if held is not None:
                # No event of later slices happens or arrives before this slice ends.
                self._take(held, before_us=following.plan.start_us)
                done += held.impressions.number.size
                on_progress(done)
            held = following
        if held is not None:
            self._take(held, before_us=None)
            on_progress(done + held.impressions.number.size)

    def _take(self, traffic: Slice, *, before_us: int | None) -> None:
        plan, shown, clicks = self._plan, traffic.impressions, traffic.clicks
        draws = Draws(plan.seed, traffic.plan.number, 2)
        states = self._states.of(traffic)
        # Even a click with an early clock is sent after its impression was shown.
        clicked_at = clicks.clicked_at.clip(shown.shown_at[clicks.row])
        seen = self._arrive(draws, render.IMPRESSIONS, shown.shown_at)
        clicked = self._arrive(draws, render.CLICKS, clicks.clicked_at, sent_at=clicked_at)
        watched = self._arrive(draws, render.WATCHES, traffic.watches.watched_at)
        known = arrive(draws, plan.rates, received_at=states.received_at)
        self.counts[render.USER_STATE.stream].add(known, states.as_of)

        lines = render.impression_lines(traffic, seen, items=plan.items)
        self._land(render.IMPRESSIONS, _records(seen, lines), before_us=before_us)
        lines = render.click_lines(traffic, clicked)
        self._land(render.CLICKS, _records(clicked, lines), before_us=before_us)
        lines = render.watch_lines(traffic, watched)
        self._land(render.WATCHES, _records(watched, lines), before_us=before_us)
        rows = _state_records(states, known, render.state_lines(states, known))
        rows = self._land(render.USER_STATE, rows, before_us=before_us)

        asked = _questions(traffic, seen, **labels(traffic, clicked, watched))
        asked = self._asked.push_and_pop(asked, before_us=before_us)
        sound = pa.array(rows.column("kind").to_numpy() == 0)
        self._truth.impressions(asked, rows.filter(sound))

    def _arrive(
        self, draws: Draws, form: Form, happened_at: Ints, *, sent_at: Ints | None = None
    ) -> Arrivals:
        rates = self._plan.rates
        lag = lags(draws, rates, on_time=ON_TIME, size=happened_at.size)
        received_at = (happened_at if sent_at is None else sent_at) + lag
        arrivals = arrive(draws, rates, received_at=received_at)
        self.counts[form.stream].add(arrivals, happened_at)
        return arrivals

    def _land(self, form: Form, records: pa.Table, *, before_us: int | None) -> pa.Table:
        """Write the records that have arrived by now; return them in order."""
        ready = self._arrivals[form.stream].push_and_pop(records, before_us=before_us)
        if not ready.num_rows:
            return ready
        received_at = ready.column("received_at").to_numpy()
        landings = self._sink.write(form, ready.column("line").chunk(0), received_at)
        self._truth.dead_letters(form.stream, ready.column("kind").to_numpy(), landings)
        return ready


def _records(arrivals: Arrivals, lines: pa.Array) -> pa.Table:
    return pa.table({"received_at": arrivals.received_at, "kind": arrivals.kind, "line": lines})


def _state_records(states: States, arrivals: Arrivals, lines: pa.Array) -> pa.Table:
    table = _records(arrivals, lines)
    about = {
        "user": states.user,
        "as_of": states.as_of,
        "s": states.sessions_7d,
        "w": states.watch_seconds_7d,
    }
    for name, column in about.items():
        table = table.append_column(name, pa.array(column[arrivals.event]))
    return table


def _questions(traffic: Slice, seen: Arrivals, **label_times: Ints) -> pa.Table:
    """Return the impressions that reach the table, with their label times, for the truth."""
    shown = traffic.impressions
    sound = seen.sound
    columns = {
        "number": shown.number,
        "user": traffic.sessions.user[shown.session],
        "event_time": shown.shown_at,
        "known_at": seen.first_received_at,
        "click_chance": traffic.clicks.chance_ppm * click_in_window_ppm(),  # of 10^12
        **label_times,
    }
    return pa.table({name: column[sound] for name, column in columns.items()})
