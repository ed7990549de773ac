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

Everything here is pure text, in the dialect of the engine that runs it. Two forms have one meaning:
`split_sql` is fast where the engine has an ASOF join; `record_sql` is simple, runs on every engine
and checks the other. Both leave out what no exposure can use: of the rows known before
`Exposures.begin` all but the newest of each key, so that what is joined does not grow with history.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from headrace.engines.dialect import Dialect, FirstOfKey, NewestBefore
from headrace.identifiers import quote

NO_TIES = ""


@dataclass(frozen=True, kw_only=True)
class Exposures:
    """The rows to enrich: `relation` is SQL for a relation, `id` is unique in it.

    `begin`, if it is given, is a moment that none of them is earlier than.
    """

    relation: str
    id: str
    at: str
    begin: datetime | None = None


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


def split_sql(
    exposures: Exposures, join: FeatureJoin, *, dialect: Dialect, tied: str | None = None
) -> str:
    """Render the form for engines with an ASOF join: on-time and late rows apart.

    A row is on time when `known` is exactly `event_time + delay`. On-time rows never displace each
    other, so one ASOF join finds the newest. Late rows are few, and only those matter that no row
    known earlier had already overtaken. Of the two rows found, the newer one wins.

    `tied` is a relation with a column `h` that holds the `key_hash_sql` of every entity and event
    time that several on-time rows share, and possibly others; `NO_TIES` says that there are none.
    Without it the query finds them itself, at about half the cost of a plain ASOF join.
    """
    keys, values = _aliases("k", join.entity), _aliases("v", join.columns)
    on_time = dialect.shifted("et", join.delay)
    passed = NewestBefore(
        probes="exposure",
        rows="settled",
        keys=keys,
        at=dialect.shifted("e.t", -join.delay),
        clock="et",
        carried=("id", "t", *keys),
        taken=[(name, f"o_{name}") for name in (*values, "et")],
    )
    found = NewestBefore(
        probes="passed",
        rows="lasting",
        keys=keys,
        at="e.t",
        clock="known",
        carried=("id", "t", *(name for _, name in passed.taken)),
        taken=[(name, f"l_{name}") for name in (*values, "et", "known")],
    )
    is_late = "l_et is not null and (o_et is null or l_et >= o_et)"
    o_known = dialect.shifted("o_et", join.delay)
    # keeping the features as an intermediate result would cost more than reading them twice
    steps = [
        f"exposure as ({_exposure_sql(exposures, join)})",
        dialect.step_inlined("feature", _feature_sql(join, dialect=dialect)),
        *_usable_steps(join, exposures.begin, keys=keys, dialect=dialect),
        dialect.step_inlined("ontime", f"select * from usable where known = {on_time}"),
        *_settled_steps(join, (*keys, "et", *values), keys=keys, tied=tied, dialect=dialect),
        f"late as (select * from usable where known > {on_time})",
        f"lasting as ({_records_sql(join, keys, relation='late')})",
        f"passed as ({dialect.newest_before(passed)})",
        f"found as ({dialect.newest_before(found)})",
        f"sided as (select *, {is_late} as is_late, {o_known} as o_known from found)",
        f"chosen as (select id, t, {_either((*values, 'et', 'known'))} from sided)",
    ]
    return _with(steps, _result_sql(exposures, join, dialect=dialect))


def record_sql(exposures: Exposures, join: FeatureJoin, *, dialect: Dialect) -> str:
    """Render the one-pass form: only rows that set a record can be the newest known.

    In order of `known`, a row whose event time is less than an earlier one's is never chosen.
    Where the engine has an ASOF join, `split_sql` costs several times less.
    """
    keys, values = _aliases("k", join.entity), _aliases("v", join.columns)
    chosen = NewestBefore(
        probes="exposure",
        rows="record",
        keys=keys,
        at="e.t",
        clock="known",
        carried=("id", "t"),
        taken=[(name, name) for name in (*values, "et", "known")],
    )
    steps = [
        f"exposure as ({_exposure_sql(exposures, join)})",
        f"feature as ({_feature_sql(join, dialect=dialect)})",
        *_usable_steps(join, exposures.begin, keys=keys, dialect=dialect),
        f"record as ({_records_sql(join, keys, relation='usable')})",
        f"chosen as ({dialect.newest_before(chosen)})",
    ]
    return _with(steps, _result_sql(exposures, join, dialect=dialect))


def key_hash_sql(join: FeatureJoin, *, dialect: Dialect) -> str:
    """Render the hashes `h` of the on-time rows' keys, to find those that tie.

    Equal keys have equal hashes; unequal keys may collide, which `split_sql` allows for.
    """
    keys = _aliases("k", join.entity)
    feature = _feature_sql(join, dialect=dialect, ordered=False)
    on_time = dialect.shifted("et", join.delay)
    hashed = dialect.tie_hash((*keys, "et"))
    return f"select {hashed} as h from ({feature}) where known = {on_time}"


def _with(steps: Sequence[str], last: str) -> str:
    return "with " + ",\n".join(steps) + f"\n{last}"


def _exposure_sql(exposures: Exposures, join: FeatureJoin) -> str:
    keys = ", ".join(f"{quote(column)} as k{n}" for n, column in enumerate(join.entity))
    return (
        f"select {quote(exposures.id)} as id, {quote(exposures.at)} as t, {keys}"
        f" from {exposures.relation}"
    )


def _feature_sql(join: FeatureJoin, *, dialect: Dialect, ordered: bool = True) -> str:
    happened, known_at = quote(join.event_time), quote(join.known_at)
    on_time = dialect.shifted(happened, join.delay)
    columns = [f"{quote(column)} as k{n}" for n, column in enumerate(join.entity)]
    columns += [f"{happened} as et", f"greatest({known_at}, {on_time}) as known"]
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


def _result_sql(exposures: Exposures, join: FeatureJoin, *, dialect: Dialect) -> str:
    fresh, end = "", ""
    if join.ttl is not None:
        fresh, end = f"case when et >= {dialect.shifted('t', -join.ttl)} then ", " end"
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


def _settled_steps(
    join: FeatureJoin,
    names: Sequence[str],
    *,
    keys: Sequence[str],
    tied: str | None,
    dialect: Dialect,
) -> list[str]:
    """Render the on-time rows, of those that tie only the last."""
    kept = ", ".join(names)
    if tied == NO_TIES:
        return [f"settled as (select {kept} from ontime)"]
    hashed = dialect.tie_hash((*keys, "et"))
    found = f"select h from (select {hashed} as h from ontime) group by h having count(*) > 1"
    last = FirstOfKey(
        columns=[(name, name) for name in names],
        relation="ontime",
        where=f"{hashed} in (select h from tied)",
        keys=(*keys, "et"),
        order=[f"{column} desc nulls last" for column in _order(join)],
    )
    alone = f"select {kept} from ontime where {hashed} not in (select h from tied)"
    return [
        f"tied as ({found if tied is None else f'select h from {tied}'})",
        f"settled as ({alone} union all {dialect.first_of_key(last)})",
    ]


def _usable_steps(
    join: FeatureJoin, begin: datetime | None, *, keys: Sequence[str], dialect: Dialect
) -> list[str]:
    """Render the rows of `feature` that an exposure at `begin` or later can use as `usable`."""
    if begin is None:
        return [dialect.step_inlined("usable", "select * from feature")]
    order, moment, listed = _order(join), dialect.literal(begin), ", ".join(keys)
    names = tuple(dict.fromkeys((*keys, "et", "known", *_aliases("v", join.columns), *order)))
    same = " and ".join(f"f.{key} = o.{key}" for key in keys)
    rows, source, steps = "feature", "feature f", list[str]()
    if dialect.has_asof_join:
        # and steps computed once: for keys asked for, by a maximum, not an order
        asked = f"(select distinct {listed} from exposure) o"
        wanted = dialect.step_inlined("wanted", f"select f.* from feature f join {asked} on {same}")
        lately = f"select {listed}, max(et) as et from wanted where known < {moment}"
        steps = [wanted, f"lately as ({lately} group by {listed})"]
        rows, source = "wanted", f"wanted f join lately o on {same} and f.et = o.et"
    newest = FirstOfKey(
        columns=[(f"f.{name}", name) for name in names],
        relation=source,
        where=f"f.known < {moment}",
        keys=[f"f.{key}" for key in keys],
        order=["f.et desc", "f.known desc", *(f"f.{name} desc nulls last" for name in order)],
    )
    later = f"select {', '.join(names)} from {rows} where known >= {moment}"
    usable = f"{later} union all select * from ({dialect.first_of_key(newest)})"
    return [*steps, dialect.step_once("usable", usable)]


def _records_sql(join: FeatureJoin, keys: Sequence[str], *, relation: str) -> str:
    """Render the rows that no row known earlier, or at the same time, is newer than.

    Of rows known at the same time, the last is a record if any is, so the others are left out.
    """
    names = ", ".join((*keys, "et", "known", *_aliases("v", join.columns)))
    order = ", ".join(f"{column} asc nulls first" for column in _order(join))
    return (
        f"select {names} from (select *, lead(known) over w is distinct from known and coalesce("
        "et >= max(et) over (w rows between unbounded preceding and 1 preceding), true)"
        f" as is_record from {relation}"
        f" window w as (partition by {', '.join(keys)} order by known, et, {order}))"
        " where is_record"
    )


def _either(names: Sequence[str]) -> str:
    return ", ".join(
        f"case when is_late then l_{name} else o_{name} end as {name}" for name in names
    )
