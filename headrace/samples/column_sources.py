"""Which columns of which tables a column comes from, as recipes and dbt models recorded it; pure."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from headrace.samples.resolve import EVENT_TIME, SAMPLE_ID, Recipe


@dataclass(frozen=True, kw_only=True)
class ColumnSource:
    """A column, and a column of a table that its values come from; `how` in a word."""

    column: str
    table: str
    of: str
    how: str


def model_column_sources(recorded: str) -> tuple[ColumnSource, ...]:
    """Read what the build of a dbt model recorded in its table's `MODEL_COLUMNS`."""
    said: Mapping[str, Sequence[tuple[str, str]]] = json.loads(recorded)
    return tuple(
        ColumnSource(column=column, table=table, of=of, how="dbt model")
        for column, found in said.items()
        for table, of in found
    )


def column_sources(recipe: Recipe) -> tuple[ColumnSource, ...]:
    """List the sources of every column that holds values of other tables.

    An aggregate without a column, such as a count, comes from the event times of what it counts.
    """
    found = (*_features(recipe), *_windows(recipe))
    return (*_exposure(recipe), *found, *_served(recipe, found), *_labels(recipe))


def _exposure(recipe: Recipe) -> Iterator[ColumnSource]:
    copied = {SAMPLE_ID: recipe.id, EVENT_TIME: recipe.at}
    copied |= {name: name for name in (*recipe.entities, *recipe.columns)}
    for column, of in copied.items():
        yield ColumnSource(column=column, table=recipe.exposures, of=of, how="exposure")


def _features(recipe: Recipe) -> Iterator[ColumnSource]:
    for feature in recipe.features:
        for of, column in feature.columns:
            yield ColumnSource(column=column, table=feature.view, of=of, how="as known then")


def _windows(recipe: Recipe) -> Iterator[ColumnSource]:
    for use in recipe.windows:
        slots = {each.name: use.windows.slots[each.slot] for each in use.windows.columns}
        for name, column in use.columns:
            slot = slots[name]
            yield ColumnSource(
                column=column,
                table=use.windows.events,
                of=slot.of or EVENT_TIME,
                how=f"window: {slot.take}",
            )


def _served(recipe: Recipe, joined: Iterable[ColumnSource]) -> Iterator[ColumnSource]:
    if recipe.served is None:
        return
    for each in joined:
        yield ColumnSource(
            column=each.column, table=recipe.served.table, of="values", how="as served"
        )


def _labels(recipe: Recipe) -> Iterator[ColumnSource]:
    for label in recipe.labels:
        of = label.value if label.has_column else EVENT_TIME
        how = "label" if label.has_column else f"label: {label.value}"
        yield ColumnSource(column=label.name, table=label.table, of=of, how=how)
