"""Read samples for the page of that name: the days of a set, and one sample with its origin."""

from dataclasses import dataclass, field

import streamlit as st

from headrace.config import Settings
from headrace.errors import LakeError, SampleNotFoundError
from headrace.identifiers import TableName
from headrace.samples.by_day import SampleDays, sample_days
from headrace.samples.inspect import InspectedSample, inspect_sample
from headrace.tables.lake import OpenLake
from headrace.tables.profile import shown
from ui.facts import TableFacts

__all__ = ["SampleSetFacts", "inspected", "sample_set_facts", "value_text"]


@dataclass(frozen=True, kw_only=True)
class SampleSetFacts:
    """The newest days of a sample table with examples of them, or why they cannot be read."""

    table: str
    found: SampleDays = field(default_factory=SampleDays)
    error: str = ""


def sample_set_facts(facts: TableFacts) -> SampleSetFacts:
    """Read the newest days of a sample table, once per commit."""
    settings = Settings.load()
    return _days(settings, name=facts.name, metadata_location=facts.metadata_location)


def inspected(facts: TableFacts, sample_id: str) -> InspectedSample | None:
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


def value_text(value: object) -> str:
    """Write a value of a sample as a browser shows it exactly."""
    return "null" if value is None else str(shown(value))


@st.cache_data(max_entries=32, show_spinner=False)
def _days(_settings: Settings, *, name: str, metadata_location: str) -> SampleSetFacts:
    _ = metadata_location  # the cache's key
    try:
        with OpenLake.existing(_settings) as lake:
            return SampleSetFacts(table=name, found=sample_days(lake, lake.table(name).head()))
    except LakeError as error:  # one sample may be readable nevertheless
        return SampleSetFacts(table=name, error=str(error))


@st.cache_data(max_entries=64, show_spinner=False)
def _inspected(
    _settings: Settings, *, name: str, sample_id: str, metadata_location: str
) -> InspectedSample:
    _ = metadata_location  # the cache's key
    with OpenLake.existing(_settings) as lake:
        return inspect_sample(lake, [TableName.parse(name)], sample_id)
