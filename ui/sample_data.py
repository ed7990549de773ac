"""Read samples for the page of that name: the days of a set, and one sample with its origin."""

import streamlit as st

from headrace.config import Settings
from headrace.errors import LakeError, SampleNotFoundError
from headrace.identifiers import TableName
from headrace.samples.by_day import sample_days
from headrace.samples.inspect import InspectedSample, Moment, inspect_sample
from headrace.tables.lake import OpenLake
from headrace.tables.profile import shown
from ui.facts import TableFacts
from ui.sample_facts import (
    ExampleFacts,
    FeatureUse,
    InspectedFacts,
    LabelUse,
    MomentFacts,
    SampleDayFacts,
    SampleSetFacts,
)

__all__ = ["inspected", "sample_set_facts"]


def sample_set_facts(facts: TableFacts) -> SampleSetFacts:
    """Read the newest days of a sample table, once per commit."""
    settings = Settings.load()
    return _days(settings, name=facts.name, metadata_location=facts.metadata_location)


def inspected(facts: TableFacts, sample_id: str) -> InspectedFacts | None:
    """Explain one sample; None if the table does not have it.

    Raises:
        LakeError: If the tables behind it cannot be read.

    """
    settings = Settings.load()
    try:
        return _inspected(
            settings,
            name=facts.name,
            sample_id=sample_id,
            metadata_location=facts.metadata_location,
        )
    except SampleNotFoundError:
        return None


@st.cache_data(max_entries=32, show_spinner=False)
def _days(_settings: Settings, *, name: str, metadata_location: str) -> SampleSetFacts:
    _ = metadata_location  # the cache's key
    try:
        with OpenLake.existing(_settings) as lake:
            found = sample_days(lake, lake.table(name).head())
    except LakeError as error:  # one sample may be readable nevertheless
        return SampleSetFacts(table=name, error=str(error))
    return SampleSetFacts(
        table=name,
        days=tuple(
            SampleDayFacts(
                day=each.day,
                rows=each.rows,
                positives=each.positives,
                pending=each.pending,
                corrected=each.corrected,
                without_row=each.without_row,
            )
            for each in found.days
        ),
        examples=tuple(
            ExampleFacts(
                sample_id=each.sample_id, event_time=each.event_time, positive=each.positive
            )
            for each in found.examples
        ),
    )


@st.cache_data(max_entries=64, show_spinner=False)
def _inspected(
    _settings: Settings, *, name: str, sample_id: str, metadata_location: str
) -> InspectedFacts:
    _ = metadata_location  # the cache's key
    with OpenLake.existing(_settings) as lake:
        return _facts(inspect_sample(lake, [TableName.parse(name)], sample_id))


def _facts(found: InspectedSample) -> InspectedFacts:
    return InspectedFacts(
        sample_set=found.sample_set,
        sample_id=found.sample_id,
        event_time=found.event_time,
        label_state=found.label_state,
        keep_rate=found.keep_rate,
        columns=tuple((name, _text(value)) for name, value in found.columns),
        features=tuple(
            FeatureUse(
                view=each.view,
                snapshot_id=each.snapshot_id,
                values=tuple((name, _text(value)) for name, value in each.values),
                used=_moment(each.used),
                expired=_moment(each.expired),
                not_used=_moment(each.not_used),
            )
            for each in found.features
        ),
        labels=tuple(
            LabelUse(
                name=each.name,
                table=each.table,
                value=_text(each.value),
                state=each.state,
                at=each.at,
                window_ends=each.window_ends,
                watermark=each.watermark,
            )
            for each in found.labels
        ),
    )


def _moment(found: Moment | None) -> MomentFacts | None:
    if found is None:
        return None
    return MomentFacts(event_time=found.event_time, known_at=found.known_at)


def _text(value: object) -> str:
    return "null" if value is None else str(shown(value))
