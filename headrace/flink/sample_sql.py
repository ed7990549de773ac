"""The statements of a sample set's live table by Flink; pure.

The job reads the tables of exposures and actions, not their topics, and its time is when rows became known.
All rows of a sample are joined by `over`: first the exposure is attached to what comes after it, then the
actions within the windows are gathered. An action may be known before its exposure, so it is read a second
time, as much later as exposures may be late. A third reading of the exposures says when all is mature.
"""

from collections.abc import Mapping
from decimal import Decimal

import pyarrow.types as pt

from headrace.clock import ONE_US
from headrace.definitions.stream import EVENT_TIME, KNOWN_AT, Stream
from headrace.flink.begin import Begin
from headrace.flink.columns import sql_type
from headrace.flink.following import (
    history,
    interval,
    later,
    mark_of,
    news,
    place_of,
    text_of,
)
from headrace.flink.live_samples import LiveSamples
from headrace.flink.statements import JobSql, create_catalog, named, plan_of
from headrace.identifiers import quote_text
from headrace.samples.first_arrivals import WITHIN
from headrace.samples.labels import CORRECTED, HEX_DIGITS, MATURE, PENDING, threshold_of
from headrace.samples.resolve import (
    KEEP_RATE,
    LABEL_STATE,
    MATURE_AT,
    SAMPLE_ID,
    ResolvedLabel,
)

_KNOWN = f"cast(`{KNOWN_AT}` as timestamp_ltz(3))"
_SHOWN, _MATURE, _ACTION, _AGAIN = range(4)  # kinds of rows
_TIME_CHARS = 26  # of a time as text
_VALUE = "'[|]([^|]*)$'"


def samples_sql(
    live: LiveSamples, catalog: Mapping[str, str], *, begins: Mapping[str, Begin]
) -> JobSql:
    """Write the statements of the job; `begins` says by table where it begins."""
    text = _Text(live, begins)
    sources, views, insert = text.sources(), text.views(), text.insert()
    return JobSql(
        setup=(create_catalog(catalog), *sources, *views),
        insert=insert,
        plan=plan_of((*views, insert)),
    )


def followed_by(live: LiveSamples) -> dict[str, Stream]:
    """Map sources of the statements to the streams whose tables they follow; actions are read by others too."""
    actions = {f"actions_{number}_news": each for number, each in enumerate(live.labels)}
    return {"shown_news": live.exposures, **actions}


class _Text:
    def __init__(self, live: LiveSamples, begins: Mapping[str, Begin]) -> None:
        self._live, self._recipe, self._begins = live, live.recipe, begins
        self._after_ms = max(each.after_us for each in begins.values()) // 1000
        recipe = live.recipe
        names = ((recipe.id, SAMPLE_ID), *((n, n) for n in (*recipe.entities, *recipe.columns)))
        self._columns = [(n, target, live.samples.field(target).type) for n, target in names]
        self._apart_ms = _ms(live.apart // ONE_US)
        self._over = (
            "over (partition by _id order by _time range between "
            f"{interval(live.reach // ONE_US // 1000)} preceding and current row)"
        )
        self._numbers = range(len(recipe.labels))

    def sources(self) -> tuple[str, ...]:
        """Write the tables as they are followed: each as often as it is read."""
        recipe, stream = self._recipe, self._live.exposures
        found = [
            *self._followed("shown", stream, time=_KNOWN),
            *self._followed("mature", stream, time=f"cast({self._due()} as timestamp_ltz(3))"),
        ]
        for number, (label, actions) in enumerate(
            zip(recipe.labels, self._live.labels, strict=True)
        ):
            assert label.table == str(actions.table)
            found += self._followed(f"actions_{number}", actions, time=_KNOWN)
            again = f"cast({later(f'`{KNOWN_AT}`', self._apart_ms)} as timestamp_ltz(3))"
            found += self._followed(f"again_{number}", actions, time=again)
        return tuple(found)

    def _followed(self, name: str, stream: Stream, *, time: str) -> list[str]:
        table, computed = str(stream.table), (f"_time as {time}",)
        begin = self._begins[table]
        mark = mark_of(stream)
        before = history(f"{name}_before", table, begin, computed=computed, time="_time")
        now = news(f"{name}_news", table, begin, computed=computed, time="_time", mark=mark)
        return [now, *([] if before is None else [before])]

    def _due(self) -> str:
        """Write when a sample is taken for mature: once each action known by then has its exposure."""
        ends = later(f"`{EVENT_TIME}`", _ms(self._live.ends_us))
        known = f"case when `{KNOWN_AT}` < {ends} then {ends} else `{KNOWN_AT}` end"
        return later(f"({known})", self._apart_ms)

    def views(self) -> tuple[str, ...]:
        """Write the steps from rows of the tables to what a sample is at each of them."""
        parts = [self._rows("shown", _SHOWN), self._rows("mature", _MATURE)]
        steps = [*self._once("shown", self._live.exposures)]
        for number in self._numbers:
            for name, kind in ((f"actions_{number}", _ACTION), (f"again_{number}", _AGAIN)):
                steps += self._once(name, self._live.labels[number])
                parts.append(self._rows(name, kind, label=number))
        steps += self._once("mature", None)
        facts = "\nunion all\n".join(parts)
        return (
            *steps,
            f"create temporary view facts as\n{facts}",
            f"create temporary view placed as\n{self._placed()}",
            f"create temporary view matched as\n{self._matched()}",
            f"create temporary view gathered as\n{self._gathered()}",
        )

    def _once(self, name: str, stream: Stream | None) -> tuple[str, ...]:
        """Write the rows of a table, those that its producer sent twice only when they first arrived."""
        table = str((stream or self._live.exposures).table)
        repeats = [each for each in self._recipe.repeats if each.table == table]
        since = f"`{EVENT_TIME}` >= to_timestamp_ltz({self._after_ms - self._reach_ms()}, 3)"
        read = f"select *, {place_of(f'`{KNOWN_AT}`')} as _place from {{}}"
        sources = [read.format(f"{name}_news")]
        if self._begins[table].history_id is not None:
            sources.append(f"{read.format(f'{name}_before')}\nwhere {since}")
        every = "\nunion all\n".join(sources)
        if stream is None or not repeats:
            return (f"create temporary view {name} as\n{every}",)
        within = interval((WITHIN + stream.allowed_lateness) // ONE_US // 1000)
        first = (
            f"min(_place) over (partition by `{repeats[0].key}` order by _time "
            f"range between {within} preceding and current row) as _first"
        )
        return (
            f"create temporary view {name}_all as\n{every}",
            f"create temporary view {name}_ranked as\nselect *, {first} from {name}_all",
            f"create temporary view {name} as\nselect * from {name}_ranked where _place = _first",
        )

    def _reach_ms(self) -> int:
        return (2 * self._live.reach + 2 * WITHIN) // ONE_US // 1000

    def _rows(self, name: str, kind: int, *, label: int | None = None) -> str:
        """Write the rows of one reading of a table in the form of all."""
        key = self._recipe.id if label is None else self._recipe.labels[label].key
        moment = {
            _MATURE: self._due(),
            _AGAIN: later(f"`{KNOWN_AT}`", self._apart_ms),
        }.get(kind, f"`{KNOWN_AT}`")
        text = "cast(null as string)" if label is None else self._action(self._recipe.labels[label])
        columns = [
            f"cast(`{key}` as string) as _id",
            f"{kind} as _kind",
            f"{-1 if label is None else label} as _label",
            "_time",
            f"{moment} as _moment",
            f"{_KNOWN} as _known",
            f"`{EVENT_TIME}` as _happened",
            "_place",
            f"{text} as _action",
        ]
        for number, (column, _, of) in enumerate(self._columns):
            value = f"`{column}`" if kind == _SHOWN else f"cast(null as {sql_type(of)})"
            columns.append(f"{value} as c{number}")
        return f"select {', '.join(columns)}\nfrom {name}\nwhere `{key}` is not null"

    def _action(self, label: ResolvedLabel) -> str:
        """Write an action as text, whose order is that in which actions decide, with its value."""
        value = f"coalesce(cast(`{label.value}` as string), '')" if label.has_column else "''"
        return f"concat({text_of(f'`{EVENT_TIME}`')}, _place, '|', {value})"

    def _placed(self) -> str:
        """Write each row with the exposure of its sample that is known by then."""
        pairs = [("_happened", "e_at"), ("_known", "e_known"), ("_place", "e_place")]
        pairs += [(f"c{number}", f"e{number}") for number in range(len(self._columns))]
        shown = ",\n    ".join(
            f"max(case when _kind = {_SHOWN} then {name} end) {self._over} as {target}"
            for name, target in pairs
        )
        return f"select facts.*,\n    {shown}\nfrom facts"

    def _matched(self) -> str:
        """Write which actions are within the window of a label: each once, whichever was known first."""
        counted = f"(_kind = {_ACTION} or (_kind = {_AGAIN} and e_known > _known))"
        matches = ",\n    ".join(
            f"case when _label = {number} and {counted} and _happened >= e_at "
            f"and _happened < {later('e_at', _ms(label.window_us))} then _action end as a{number}"
            for number, label in enumerate(self._recipe.labels)
        )
        return f"select *,\n    {matches}\nfrom placed"

    def _gathered(self) -> str:
        """Write each row with the actions of its sample that are known by then."""
        found = ",\n    ".join(
            f"min(a{n}) {self._over} as first_{n}, count(a{n}) {self._over} as n_{n}, "
            f"max(substring(a{n} from {_TIME_CHARS + 1} for {_TIME_CHARS})) {self._over} as last_{n}"
            for n in self._numbers
        )
        return f"select matched.*,\n    {found}\nfrom matched"

    def insert(self) -> str:
        """Write the job: a revision for each action within a window, and one when all is mature."""
        recipe = self._recipe
        changed = " or ".join(
            (
                f"(_kind = {_MATURE} and _place = e_place)",
                *(f"a{n} is not null" for n in self._numbers),
            )
        )
        inner = [
            *(f"e{number} as `{target}`" for number, (_, target, _) in enumerate(self._columns)),
            f"e_at as `{EVENT_TIME}`",
            f"_moment as `{KNOWN_AT}`",
            f"{later('e_at', _ms(self._live.ends_us))} as `{MATURE_AT}`",
        ]
        for number, label in enumerate(recipe.labels):
            inner += self._label(number, label)
        listed = ",\n        ".join(inner)
        keep = _kept(self._live)
        targets = ", ".join(f"`{name}`" for name in self._live.schema.names)
        values = ",\n    ".join(self._value(name) for name in self._live.schema.names)
        return f"""insert into {named(str(self._live.table))} ({targets})
select
    {values}
from (
    select
        {listed}
    from gathered
    where ({changed}) and _time > to_timestamp_ltz({self._after_ms}, 3)
){f"{chr(10)}where {self._positive()} or {keep}" if keep else ""}"""

    def _label(self, number: int, label: ResolvedLabel) -> tuple[str, str, str]:
        first, of = f"first_{number}", sql_type(self._live.samples.field(label.name).type)
        value = f"case when {first} is null then 0 else 1 end"
        if label.value == "count":
            value = f"n_{number}"
        elif label.has_column:
            found = f"nullif(regexp_extract({first}, {_VALUE}, 1), '')"
            value = f"case when {first} is null then cast(0 as {of}) else cast({found} as {of}) end"
        at = f"substring({first} from 1 for {_TIME_CHARS})"
        known = f"substring({first} from {_TIME_CHARS + 1} for {_TIME_CHARS})"
        deciding = _instant(f"last_{number}" if label.value == "count" else known)
        ends = later("e_at", _ms(label.window_us + label.lateness_us))
        state = (
            f"case when _moment < {ends} then '{PENDING}' "
            f"when {deciding} >= {ends} then '{CORRECTED}' else '{MATURE}' end"
        )
        return (
            f"cast({value} as {of}) as `{label.name}`",
            f"{_instant(at)} as `{label.name}_at`",
            f"{state} as `{label.name}_state`",
        )

    def _value(self, name: str) -> str:
        if name == LABEL_STATE:
            states = ", ".join(f"`{each.name}_state`" for each in self._recipe.labels)
            return (
                f"case when '{PENDING}' in ({states}) then '{PENDING}' "
                f"when '{CORRECTED}' in ({states}) then '{CORRECTED}' else '{MATURE}' end"
            )
        if name == KEEP_RATE:
            rate = Decimal(self._recipe.keep_rate)
            return f"cast(case when {self._positive()} then 1.0 else {rate:f} end as double)"
        return f"`{name}`"

    def _positive(self) -> str:
        """Write whether an action happened; NaN is no value of a label."""
        parts: list[str] = []
        for label in self._recipe.labels:
            name, of = f"`{label.name}`", self._live.samples.field(label.name).type
            number = f" and {name} = {name}" if pt.is_floating(of) else ""
            parts.append(f"coalesce({name} <> 0{number}, false)")
        return f"({' or '.join(parts)})"


def _kept(live: LiveSamples) -> str:
    """Write whether a negative is kept; empty if all are."""
    threshold = threshold_of(Decimal(live.recipe.keep_rate))
    if threshold is None:
        return ""
    salted = f"concat({quote_text(live.recipe.keep_salt + ':')}, cast(`{SAMPLE_ID}` as string))"
    return f"substring(md5({salted}) from 1 for {HEX_DIGITS}) < {quote_text(threshold)}"


def _instant(text: str) -> str:
    return f"cast(cast({text} as timestamp(6)) as timestamp_ltz(6))"


def _ms(us: int) -> int:
    return us // 1000
