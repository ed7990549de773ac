"""The SQL of a day's samples from its steps: who is kept, and what each row has."""

from collections.abc import Iterator
from decimal import Decimal

import pyarrow as pa

from headrace.engines.dialect import Dialect
from headrace.identifiers import TableName, quote, quote_text
from headrace.samples import labels as label_rules
from headrace.samples.resolve import (
    EVENT_TIME,
    KEEP_RATE,
    LABEL_STATE,
    MATURE_AT,
    SAMPLE_ID,
    Recipe,
    ResolvedLabel,
)
from headrace.samples.served_log import ServedView, preferred


def kept_rows_sql(recipe: Recipe, *, dialect: Dialect) -> str:
    """Render the exposures that stay, with their labels, over the steps `exposure` and `label_<n>`."""
    shown = dialect.epoch_us(f"e.{EVENT_TIME}")
    labels, last = [], [shown]
    for number, label in enumerate(recipe.labels):
        labels += [
            f"label_{number}.value as {quote(label.name)}",
            f"label_{number}.at as {quote(f'{label.name}_at')}",
            f"label_{number}.state as {quote(f'{label.name}_state')}",
        ]
        ends = label.window_us + label.lateness_us
        last.append(f"{shown} + {ends}")
    states = [f"label_{number}.state" for number in range(len(recipe.labels))]
    positive = " or ".join(
        f"coalesce({_positive(recipe, label, f'label_{number}.value', dialect=dialect)}, false)"
        for number, label in enumerate(recipe.labels)
    )
    positive = positive or "false"
    mature = f"greatest({', '.join(last)})" if len(last) > 1 else shown
    rate = Decimal(recipe.keep_rate)
    salt = recipe.keep_salt
    stays = label_rules.kept_sql(f"e.{SAMPLE_ID}", rate=rate, salt=salt, dialect=dialect)
    joins = " ".join(
        f"join label_{number} on label_{number}.{SAMPLE_ID} = e.{SAMPLE_ID}"
        for number in range(len(recipe.labels))
    )
    columns = [
        "e.*",
        *labels,
        f"{_worst(states)} as {LABEL_STATE}",
        f"{dialect.instant(mature)} as {MATURE_AT}",
        f"cast(case when {positive} then 1.0 else {rate:f} end as double) as {KEEP_RATE}",
    ]
    return f"select {', '.join(columns)} from exposure e {joins} where {positive} or {stays}"


def _positive(recipe: Recipe, label: ResolvedLabel, value: str, *, dialect: Dialect) -> str:
    if recipe.nan_is_positive or not label.has_column:
        return f"{value} <> 0"
    is_nan = dialect.is_nan(f"cast({value} as double)")
    return f"({value} <> 0 and not {is_nan})"


def _worst(states: list[str]) -> str:
    for_each = [
        f"when {quote_text(state)} in ({', '.join(states)}) then {quote_text(state)}"
        for state in (label_rules.PENDING, label_rules.CORRECTED)
        if states
    ]
    mature = quote_text(label_rules.MATURE)
    return f"case {' '.join(for_each)} else {mature} end" if for_each else mature


def samples_sql(recipe: Recipe, kinds: pa.Schema, *, dialect: Dialect) -> str:
    """Render the samples in order, over the steps `kept`, `feature_<n>`, `window_<n>` and `answer`.

    `kinds` has the types of the samples' columns; `answer` is there if the recipe has a log.
    """
    columns = [f"kept.{quote(name)} as {quote(name)}" for name in (SAMPLE_ID, EVENT_TIME)]
    columns += [f"kept.{quote(name)}" for name in (*recipe.entities, *recipe.columns)]
    joins = (
        ""
        if recipe.served is None
        else f"left join answer on answer.{SAMPLE_ID} = kept.{SAMPLE_ID}"
    )
    for step, used in _views(recipe):
        joins = f"join {step} on {step}.{SAMPLE_ID} = kept.{SAMPLE_ID} {joins}"
        if recipe.served is None:
            columns += [f"{step}.{quote(name)}" for name in (*used.columns, *used.times)]
        else:
            found = preferred(used, step, kinds, dialect=dialect)
            columns += [f"{value} as {quote(name)}" for value, name in found]
    for label in recipe.labels:
        names = (label.name, f"{label.name}_at", f"{label.name}_state")
        columns += [f"kept.{quote(name)}" for name in names]
    columns += [f"kept.{name}" for name in (LABEL_STATE, MATURE_AT, KEEP_RATE)]
    return f"select {', '.join(columns)} from kept {joins} order by {EVENT_TIME}, {SAMPLE_ID}"


def _views(recipe: Recipe) -> Iterator[tuple[str, ServedView]]:
    """Yield the step of each view with its columns in a sample."""
    for number, feature in enumerate(recipe.features):
        names = tuple(name for _, name in feature.columns)
        times = {f"{feature.name}__{time}": time for time in ("event_time", "known_at")}
        used = ServedView(view=feature.view, name=feature.name, columns=names, times=times)
        yield f"feature_{number}", used
    for number, windows in enumerate(recipe.windows):
        view, names = windows.windows.view, tuple(name for _, name in windows.columns)
        name = TableName.parse(view).name
        yield f"window_{number}", ServedView(view=view, name=name, columns=names, times={})
