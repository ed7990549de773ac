"""The columns of a sample table, from the recipe and the tables it reads."""

from collections.abc import Iterator, Mapping

import pyarrow as pa

from headrace.identifiers import TableName
from headrace.samples.resolve import (
    EVENT_TIME,
    KEEP_RATE,
    LABEL_STATE,
    MATURE_AT,
    SAMPLE_ID,
    Recipe,
    ResolvedLabel,
)
from headrace.tables.version import TableVersion

TIME = pa.timestamp("us", tz="UTC")
_VALUES = {"exists": pa.int32(), "count": pa.int64()}


def samples_schema(recipe: Recipe, versions: Mapping[str, TableVersion]) -> pa.Schema:
    """Describe the sample table of `versions`: id and time, exposure columns, features, labels, state.

    Columns that every sample set has are required. The others are optional even if never null: a
    definition may gain a column, which days built earlier lack until they are rebuilt.
    """
    exposures = versions[recipe.exposures].schema
    fields = [
        pa.field(SAMPLE_ID, exposures.field(recipe.id).type, nullable=False),
        pa.field(EVENT_TIME, TIME, nullable=False),
    ]
    for name in (*recipe.entities, *recipe.columns):
        fields.append(pa.field(name, exposures.field(name).type))
    for feature in recipe.features:
        view = versions[feature.view].schema
        fields += [pa.field(name, view.field(column).type) for column, name in feature.columns]
        fields.append(pa.field(f"{feature.name}__event_time", TIME))
        fields.append(pa.field(f"{feature.name}__known_at", TIME))
        fields += _mark(recipe, feature.name)
    for used in recipe.windows:
        kinds = used.windows.schema()
        fields += [pa.field(name, kinds.field(column).type) for column, name in used.columns]
        fields += _mark(recipe, TableName.parse(used.windows.view).name)
    for label in recipe.labels:
        fields += _label_fields(label, versions[label.table].schema)
    fields.append(pa.field(LABEL_STATE, pa.string(), nullable=False))
    fields.append(pa.field(MATURE_AT, TIME, nullable=False))
    fields.append(pa.field(KEEP_RATE, pa.float64(), nullable=False))
    return pa.schema(fields)


def _mark(recipe: Recipe, view: str) -> tuple[pa.Field, ...]:
    return () if recipe.served is None else (pa.field(f"{view}__logged", pa.bool_()),)


def _label_fields(label: ResolvedLabel, events: pa.Schema) -> Iterator[pa.Field]:
    kind = _VALUES.get(label.value)
    if kind is None:
        kind = events.field(label.value).type
    yield pa.field(label.name, kind)
    yield pa.field(f"{label.name}_at", TIME)
    yield pa.field(f"{label.name}_state", pa.string())
