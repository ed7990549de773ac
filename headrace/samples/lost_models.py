"""Finds tables that samples read and that no dbt model builds any more."""

from collections.abc import Iterator, Mapping

from headrace.config import Settings
from headrace.definitions.dbt_project import lost_model
from headrace.definitions.problem import Finding
from headrace.definitions.properties import MODEL_PROPERTY
from headrace.definitions.sample_set import SampleSet
from headrace.definitions.source_lines import Place
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


def lost_models_of(lake: OpenLake, sample_set: SampleSet) -> Iterator[Finding]:
    """Report the lost models of a sample set's tables; tables that do not exist are left out."""
    places: dict[TableName, Place] = {sample_set.exposures.table: ("exposures", "table")}
    for at, use in enumerate(sample_set.features):
        places.setdefault(use.view, ("features", at, "view"))
    for at, label in enumerate(sample_set.labels):
        places.setdefault(label.stream, ("labels", at, "stream"))
    if sample_set.logged is not None:
        places.setdefault(sample_set.logged.log, ("logged", "log"))
    for name, place in places.items():
        if lake.exists(name):
            for text in lost_models(lake.settings, {str(name): lake.table(name).head()}):
                yield Finding(place, text)
