"""Renders the exact, arrival-aware point-in-time join as SQL: what serving could have known.

For an exposure at `t` the joined feature row is the newest, by `(event_time, known, order)`, among
those with `event_time < t` and `known < t`, where `known = greatest(known_at, event_time + delay)`.
The TTL is applied after that choice: if `event_time < t - ttl` every output is null, an older row
is never taken instead. Both comparisons are strict, a row known at exactly `t` is not joined.

Edge cases, the same in every form:

* a null in any entity column, on either side, never matches;
* a feature row whose `event_time` or `known_at` is null never matches (`samples.audit` refuses
  such a table before a build gets here);
* rows that tie on `(event_time, known)` are ordered by `FeatureJoin.order`, ascending with nulls
  first, and the last wins. `order` is total, or names every column of the table so that rows it
  cannot tell apart are the same row: the result is a function of the data, not of the plan.

Everything here is pure text. Three forms of one meaning: `split_sql` is fast, `record_sql` is
simple and checks it, `trino_sql` needs no ASOF join.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from headrace.identifiers import quote

NO_TIES = ""


@dataclass(frozen=True, kw_only=True)
class Exposures:
    """The rows to enrich: `relation` is SQL for a relation, `id` is unique in it."""

    relation: str
    id: str
    at: str


@dataclass(frozen=True, kw_only=True)
class FeatureJoin:
    """One feature table as one sample set uses it.

    `entity` columns carry the same names in the exposures. `columns` pairs each wanted column with
    its name in the result; the result also has `event_time_as` and `known_at_as`, the times of the
    row used, where known already includes the delay. `order` breaks ties, least significant last.
    """

    relation: str
    entity: tuple[str, ...]
    columns: tuple[tuple[str, str], ...]
    event_time: str
    known_at: str
    event_time_as: str
    known_at_as: str
    order: tuple[str, ...]
    ttl: timedelta | None = None
    delay: timedelta = timedelta(0)

    def __post_init__(self) -> None:
        if not self.entity or not self.order:
            msg = "a feature join needs at least one entity column and one order column"
            raise ValueError(msg)
        if self.delay < timedelta(0):
            msg = f"the delay is {self.delay}, but a feature is never known before it happens"
            raise ValueError(msg)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Columns of the result beside the exposure's id, in order."""
        return (*(name for _, name in self.columns), self.event_time_as, self.known_at_as)


Shift = Callable[[str, timedelta], str]  # renders an instant moved by a duration


def _shifted_duckdb(instant: str, by: timedelta) -> str:
    # adding an interval to a timestamptz goes through a calendar in DuckDB, at three times the cost
    # of the whole join; whole microseconds do not
    return f"make_timestamptz(epoch_us({instant}) + ({_micros(by)}))" if by else instant


def _shifted_trino(instant: str, by: timedelta) -> str:
    if not by:
        return instant
    sign, length = ("-", -by) if by < timedelta(0) else ("+", by)
    seconds, micros = divmod(_micros(length), 1_000_000)
    if micros % 1000:
        msg = f"{length} is not a whole number of milliseconds"
        raise ValueError(msg)
    fraction = f".{micros // 1000:03}" if micros else ""
    return f"{instant} {sign} interval '{seconds}{fraction}' second"


def split_sql(exposures: Exposures, join: FeatureJoin, *, tied: str | None = None) -> str:
    """Render the fast form for DuckDB: on-time and late rows apart.

    A row is on time when `known` is exactly `event_time + delay`. On-time rows never displace each
    other, so one ASOF join finds the newest; late rows are few, and of them only those matter that
    no row known earlier had already overtaken. Of the two finds the newer wins.

    `tied` is a relation with a column `h` that holds the `key_hash_sql` of every entity and event
    time that several on-time rows share, and possibly others; `NO_TIES` says that there are none.
    Without it the query finds them itself, at about half the cost of a plain ASOF join.
    """
    keys, values = _aliases("k", join.entity), _aliases("v", join.columns)
    kept = ", ".join((*keys, "et", *values))
    on_time, before = _shifted_duckdb("et", join.delay), _shifted_duckdb("e.t", -join.delay)
    # keeping the features as an intermediate result would cost more than reading them twice
    lines = [
        f"with exposure as ({_exposure_sql(exposures, join)}),",
        f"feature as not materialized ({_feature_sql(join, shift=_shifted_duckdb)}),",
        f"ontime as not materialized (select * from feature where known = {on_time}),",
        *_settled_lines(join, keys, kept, tied=tied),
        f"late as (select * from feature where known > {on_time}),",
        f"lasting as (select {kept}, known from late {_setting_records(join, keys)}),",
        "found as (",
        "  select e.id, e.t, l.et is not null and (o.et is null or l.et >= o.et) as is_late,",
        f"  {_sides((*values, 'et'))}, {_shifted_duckdb('o.et', join.delay)} as o_known,",
        "  l.known as l_known",
        "  from exposure e",
        f"  asof left join settled o on {_equal('e', 'o', keys)} and {before} > o.et",
        f"  asof left join lasting l on {_equal('e', 'l', keys)} and e.t > l.known),",
        f"chosen as (select id, t, {_either((*values, 'et', 'known'))} from found)",
        _result_sql(exposures, join, shift=_shifted_duckdb),
    ]
    return "\n".join(lines)


def record_sql(exposures: Exposures, join: FeatureJoin) -> str:
    """Render the one-pass form for DuckDB: only rows that set a record can be the newest known.

    In order of `known`, a row whose event time is less than an earlier one's is never chosen.
    Several times the cost of `split_sql`, and its cross-check.
    """
    keys, values = _aliases("k", join.entity), _aliases("v", join.columns)
    kept = ", ".join((*keys, "et", "known", *values))
    lines = [
        f"with exposure as ({_exposure_sql(exposures, join)}),",
        f"feature as ({_feature_sql(join, shift=_shifted_duckdb)}),",
        f"record as (select {kept} from feature {_setting_records(join, keys)}),",
        "chosen as (",
        f"  select e.id, e.t, {_of('r', (*values, 'et', 'known'))} from exposure e",
        f"  asof left join record r on {_equal('e', 'r', keys)} and e.t > r.known)",
        _result_sql(exposures, join, shift=_shifted_duckdb),
    ]
    return "\n".join(lines)


def trino_sql(exposures: Exposures, join: FeatureJoin) -> str:
    """Render the form without ASOF, for Trino: one time line of records and exposures.

    An exposure sorts before a record of the same instant, which keeps the comparison strict. Only
    the record's number travels through the window; its columns are fetched once at the end.
    """
    keys, values = _aliases("k", join.entity), _aliases("v", join.columns)
    key = ", ".join(keys)
    order = ", ".join(f"{column} asc nulls first" for column in _order(join))
    within = f"partition by {key} order by known asc, et asc, {order}"
    lines = [
        f"with exposure as ({_exposure_sql(exposures, join)}),",
        f"feature as ({_feature_sql(join, shift=_shifted_trino)}),",
        f"numbered as (select {key}, {', '.join(('et', 'known', *values))},",
        f"  row_number() over ({within}) as n,",
        f"  max(et) over ({within} rows between unbounded preceding and 1 preceding) as newest",
        "  from feature),",
        "record as (select * from numbered where newest is null or et >= newest),",
        "line as (",
        f"  select {key}, t as moment, 0 as kind, cast(null as bigint) as n, id, t from exposure",
        "  union all",
        f"  select {key}, known, 1, n, null, null from record),",
        f"seen as (select {key}, id, t, kind, last_value(n) ignore nulls over (",
        f"  partition by {key} order by moment asc, kind asc, n asc",
        "  rows between unbounded preceding and current row) as n from line),",
        "chosen as (",
        f"  select s.id, s.t, {_of('r', (*values, 'et', 'known'))} from seen s",
        f"  left join record r on {_equal('s', 'r', keys)} and s.n = r.n where s.kind = 0)",
        _result_sql(exposures, join, shift=_shifted_trino),
    ]
    return "\n".join(lines)


def key_hash_sql(join: FeatureJoin) -> str:
    """Render the hashes `h` of the on-time rows' keys, to find those that tie (DuckDB).

    Equal keys have equal hashes; unequal keys may collide, which `split_sql` allows for.
    """
    keys = _aliases("k", join.entity)
    feature = _feature_sql(join, shift=_shifted_duckdb, ordered=False)
    on_time = _shifted_duckdb("et", join.delay)
    return f"select {_key_hash(keys)} as h from ({feature}) where known = {on_time}"


def _exposure_sql(exposures: Exposures, join: FeatureJoin) -> str:
    keys = ", ".join(f"{quote(column)} as k{n}" for n, column in enumerate(join.entity))
    return (
        f"select {quote(exposures.id)} as id, {quote(exposures.at)} as t, {keys}"
        f" from {exposures.relation}"
    )


def _feature_sql(join: FeatureJoin, *, shift: Shift, ordered: bool = True) -> str:
    known_at, on_time = quote(join.known_at), shift(quote(join.event_time), join.delay)
    columns = [f"{quote(column)} as k{n}" for n, column in enumerate(join.entity)]
    columns += [
        f"{quote(join.event_time)} as et",
        f"greatest({known_at}, {on_time}) as known",
    ]
    if ordered:
        columns += [f"{quote(column)} as v{n}" for n, (column, _) in enumerate(join.columns)]
        columns += [
            f"{quote(column)} as {alias}"
            for column, alias in zip(join.order, _order(join), strict=True)
            if alias.startswith("s")
        ]
    present = " and ".join(
        f"{quote(column)} is not null" for column in (*join.entity, join.event_time, join.known_at)
    )
    return f"select {', '.join(columns)} from {join.relation} where {present}"


def _result_sql(exposures: Exposures, join: FeatureJoin, *, shift: Shift) -> str:
    fresh, end = "", ""
    if join.ttl is not None:
        fresh, end = f"case when et >= {shift('t', -join.ttl)} then ", " end"
    names = (*_aliases("v", join.columns), "et", "known")
    values = [f"{fresh}{name}{end}" for name in names]
    columns = ", ".join(
        f"{value} as {quote(output)}" for value, output in zip(values, join.outputs, strict=True)
    )
    return f"select id as {quote(exposures.id)}, {columns} from chosen"


def _aliases(letter: str, items: Sequence[object]) -> tuple[str, ...]:
    return tuple(f"{letter}{n}" for n in range(len(items)))


def _order(join: FeatureJoin) -> tuple[str, ...]:
    """Name the order columns; one that is a value too is not carried twice."""
    values = {column: f"v{n}" for n, (column, _) in enumerate(join.columns)}
    return tuple(values.get(column, f"s{n}") for n, column in enumerate(join.order))


def _key_hash(keys: Sequence[str]) -> str:
    return f"hash({', '.join((*keys, 'et'))})"


def _settled_lines(
    join: FeatureJoin, keys: Sequence[str], kept: str, *, tied: str | None
) -> list[str]:
    """Render the on-time rows, of those that tie only the last."""
    if tied == NO_TIES:
        return [f"settled as (select {kept} from ontime),"]
    found = f"select {_key_hash(keys)} as h from ontime group by h having count(*) > 1"
    last = ", ".join(f"{column} desc nulls last" for column in _order(join))
    return [
        f"tied as ({found if tied is None else f'select h from {tied}'}),",
        "settled as (",
        f"  select {kept} from ontime where {_key_hash(keys)} not in (select h from tied)",
        "  union all",
        f"  select {kept} from ontime where {_key_hash(keys)} in (select h from tied)",
        f"  qualify row_number() over (partition by {', '.join(keys)}, et order by {last}) = 1),",
    ]


def _setting_records(join: FeatureJoin, keys: Sequence[str]) -> str:
    """Render the choice of rows that no row known earlier, or at the same time, is newer than.

    Of rows known at the same time the last is a record if any is, so the others can go.
    """
    order = ", ".join(f"{column} asc nulls first" for column in _order(join))
    return (
        f"window w as (partition by {', '.join(keys)} order by known, et, {order}) "
        "qualify lead(known) over w is distinct from known and coalesce("
        "et >= max(et) over (w rows between unbounded preceding and 1 preceding), true)"
    )


def _of(relation: str, names: Sequence[str]) -> str:
    return ", ".join(f"{relation}.{name} as {name}" for name in names)


def _sides(names: Sequence[str]) -> str:
    return ", ".join(f"o.{name} as o_{name}, l.{name} as l_{name}" for name in names)


def _either(names: Sequence[str]) -> str:
    return ", ".join(
        f"case when is_late then l_{name} else o_{name} end as {name}" for name in names
    )


def _equal(left: str, right: str, keys: Sequence[str]) -> str:
    return " and ".join(f"{left}.{key} = {right}.{key}" for key in keys)


def _micros(duration: timedelta) -> int:
    return duration // timedelta(microseconds=1)
