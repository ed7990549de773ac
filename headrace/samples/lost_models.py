"""Finds tables that samples read and that no dbt model builds any more."""

from collections.abc import Iterator, Mapping

from headrace.config import Settings
from headrace.definitions.dbt_project import lost_model
from headrace.definitions.properties import MODEL_PROPERTY
from headrace.definitions.sample_set import SampleSet
from headrace.identifiers import TableName
from headrace.tables.lake import OpenLake
from headrace.tables.version import TableVersion


def lost_models(settings: Settings, versions: Mapping[str, TableVersion]) -> Iterator[str]:
    """Report each table whose dbt model was deleted: its rows are old; say what to do."""
    for name, version in versions.items():
        recorded = version.properties.get(MODEL_PROPERTY)
        place = None if recorded is None else lost_model(settings, recorded)
        if place is not None:
            yield (
                f"`{name}` was built by the dbt model `{recorded}`, which `{place.name}` no longer "
                "has: its rows stay as they are. Put the model back, or take the table out of the "
                "sample set"
            )


def lost_models_of(lake: OpenLake, sample_set: SampleSet) -> tuple[str, ...]:
    """Report the lost models of a sample set's tables; tables that do not exist are left out."""
    names: list[TableName] = [
        sample_set.exposures.table,
        *(use.view for use in sample_set.features),
        *(label.stream for label in sample_set.labels),
    ]
    versions = {str(name): lake.table(name).head() for name in names if lake.exists(name)}
    return tuple(lost_models(lake.settings, versions))
