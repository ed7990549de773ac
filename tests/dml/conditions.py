"""Random conditions as text, each with what SQL's three-valued logic makes of it for a row."""

import datetime as dt
import operator
from collections.abc import Callable
from dataclasses import dataclass
from math import isnan

from hypothesis import strategies as st

from tests.dml.keyed import SCHEMA, START, Row

Truth = bool | None


@dataclass(frozen=True)
class Condition:
    """A condition and its meaning."""

    text: str
    is_true: Callable[[Row], Truth]


_COMPARISONS: dict[str, Callable[[object, object], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,  # pyright: ignore[reportAssignmentType]
    "<=": operator.le,  # pyright: ignore[reportAssignmentType]
    ">": operator.gt,  # pyright: ignore[reportAssignmentType]
    ">=": operator.ge,  # pyright: ignore[reportAssignmentType]
}
_LITERALS: dict[str, st.SearchStrategy[object]] = {
    "user_id": st.integers(-1, 6),
    "item": st.sampled_from(["", "a", "ab", "b", "it's", "ä"]),
    "at": st.integers(-1, 3).map(lambda day: START + dt.timedelta(hours=18 * day)),
    "value": st.integers(-1, 4),
    "score": st.sampled_from([0.0, 0.5, -1.5, 1.0]),
}


def _text(value: object) -> str:
    if isinstance(value, dt.datetime):
        return f"'{value.isoformat()}'"
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else str(value)


def _lifted(name: str, test: Callable[[object], bool]) -> Callable[[Row], Truth]:
    at = SCHEMA.names.index(name)
    return lambda row: None if row[at] is None else test(row[at])


@st.composite
def _leaves(draw: st.DrawFn) -> Condition:
    name = draw(st.sampled_from(SCHEMA.names))
    at = SCHEMA.names.index(name)
    kinds = ["compare", "in", "not in", "between", "null", "not null"]
    kinds += {"item": ["like", "not like"], "score": ["nan", "not nan"]}.get(name, [])
    kind = draw(st.sampled_from(kinds))
    if kind == "compare":
        sign, literal = draw(st.sampled_from(sorted(_COMPARISONS))), draw(_LITERALS[name])
        if draw(st.booleans()):
            compared = _lifted(name, lambda value: _COMPARISONS[sign](literal, value))
            return Condition(f"{_text(literal)} {sign} {name}", compared)
        compared = _lifted(name, lambda value: _COMPARISONS[sign](value, literal))
        return Condition(f"{name} {sign} {_text(literal)}", compared)
    if kind in ("in", "not in"):
        found = draw(st.lists(_LITERALS[name], min_size=1, max_size=3))
        listed = ", ".join(_text(each) for each in found)
        wanted = kind == "in"
        return Condition(
            f"{name} {kind} ({listed})", _lifted(name, lambda value: (value in found) == wanted)
        )
    if kind == "between":
        low, high = draw(_LITERALS[name]), draw(_LITERALS[name])
        text = f"{name} between {_text(low)} and {_text(high)}"
        return Condition(text, _lifted(name, lambda value: low <= value <= high))  # pyright: ignore[reportOperatorIssue]
    if kind in ("like", "not like"):
        prefix, wanted = draw(st.sampled_from(["", "a", "ä"])), kind == "like"
        text = f"{name} {kind} '{prefix}%'"
        return Condition(text, _lifted(name, lambda value: str(value).startswith(prefix) == wanted))
    if kind in ("nan", "not nan"):
        wanted = kind == "nan"
        return Condition(f"{name} is {kind}", _lifted(name, lambda v: isnan(v) == wanted))
    wanted = kind == "null"
    return Condition(f"{name} is {kind}", lambda row: (row[at] is None) == wanted)


def _not(inner: Condition) -> Condition:
    def is_true(row: Row) -> Truth:
        found = inner.is_true(row)
        return None if found is None else not found

    return Condition(f"not ({inner.text})", is_true)


def _joined(word: str, decides: bool) -> Callable[[tuple[Condition, Condition]], Condition]:
    def join(pair: tuple[Condition, Condition]) -> Condition:
        def is_true(row: Row) -> Truth:
            found = [each.is_true(row) for each in pair]
            if decides in found:
                return decides
            return None if None in found else not decides

        return Condition(f"({pair[0].text}) {word} ({pair[1].text})", is_true)

    return join


conditions = st.recursive(
    _leaves(),
    lambda inner: st.one_of(
        inner.map(_not),
        st.tuples(inner, inner).map(_joined("and", decides=False)),
        st.tuples(inner, inner).map(_joined("or", decides=True)),
    ),
    max_leaves=4,
)
