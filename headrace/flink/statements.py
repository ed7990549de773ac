"""What the statements of all jobs have in common: their form, names of tables, and options."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from headrace.flink.session import OPERATORS
from headrace.identifiers import quote_text

CATALOG = "lake"


@dataclass(frozen=True, kw_only=True)
class JobSql:
    """The statements of one job.

    Args:
        setup: Tables and views of the session; the last ones may be shown, the first hold secrets.
        insert: The job.
        plan: A hash of what decides the job's state and rows; where it begins and addresses do not.
        session: Settings of the session that this job needs beside those of all jobs.

    """

    setup: tuple[str, ...]
    insert: str
    plan: str
    session: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def text(self) -> str:
        """All statements, as the SQL client takes them."""
        settings = (
            f"set {quote_text(key)} = {quote_text(value)}" for key, value in self.session.items()
        )
        return ";\n\n".join((*settings, *self.setup, self.insert)) + ";\n"


def plan_of(statements: Iterable[str]) -> str:
    """Hash what decides a job's state and rows."""
    operators = (f"{key} = {value}" for key, value in OPERATORS.items())
    return hashlib.sha256("\n".join((*statements, *operators)).encode()).hexdigest()[:16]


def create_catalog(options: Mapping[str, str]) -> str:
    """Write the statement that names the lake's catalog."""
    return f"create catalog {CATALOG} with ({option_list(options)})"


def named(table: str) -> str:
    """Quote a table: `raw`, the namespace of streams, is a keyword."""
    return ".".join(f"`{part}`" for part in (CATALOG, *table.split(".")))


def option_list(options: Mapping[str, str]) -> str:
    """Write the options of a `with` clause, one a line."""
    return (
        ",".join(f"\n    {quote_text(key)} = {quote_text(options[key])}" for key in options) + "\n"
    )


def _drawn(view: str) -> str:
    return f"drawn_{view}"


def draws(view: str, base: str) -> str:
    """Write a view that draws a number for each row of a source, for views that are written by `once`."""
    return f"create temporary view {view} as\nselect {base}.*, rand() as {_drawn(view)} from {base}"


def once(view: str, base: str, values: Mapping[str, str]) -> str:
    """Write a view that adds values to another one, each computed once a row for all that read the view.

    The planner would copy what a query computes to every place that names it, and so parse a record hundreds
    of times. It does not where a value differs each time it is computed, and is named twice: so each view
    draws a number, and names that of its base twice; who reads the last view does so too (`is_drawn`).
    """
    base_drawn = _drawn(base)
    added = {**values, _drawn(view): f"{base_drawn} * {base_drawn} * rand()"}
    listed = ",\n    ".join(f"{value} as `{name}`" for name, value in added.items())
    return f"create temporary view {view} as\nselect {base}.*,\n    {listed}\nfrom {base}"


def once_each(view: str, base: str, values: Mapping[str, str]) -> str:
    """Write a view that adds values to another one, each computed once a row for each that reads the view."""
    return f"create temporary view {view} as\n{plus(base, values)}"


def is_drawn(view: str) -> str:
    """Write a condition that is always true, by which what a view computes is not computed again."""
    return f"{_drawn(view)} * {_drawn(view)} >= 0"


def plus(base: str, values: Mapping[str, str]) -> str:
    """Write a query that adds values to another one, each computed once a row for each that reads it.

    As `once` does, by other means: the planner copies nothing across `unnest`, from which each query takes a
    list of one row. Two readers of such a query have one each.
    """
    names = ", ".join(f"`{name}`" for name in values)
    listed = ",\n    ".join(values.values())
    return f"""select {base}.*, {names}
from {base} cross join unnest(array[row(
    {listed}
)]) as added ({names})"""


def in_steps(view: str, steps: Mapping[str, str]) -> str:
    """Write a view of queries, each of which may read those before it; the view is the last one.

    Many views would take minutes: to each, the planner looks at all below it.
    """
    *before, (_, last) = steps.items()
    named_ = ",\n".join(f"{name} as (\n{query}\n)" for name, query in before)
    return f"create temporary view {view} as\nwith {named_}\n{last}"
