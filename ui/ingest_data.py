"""Read how the ingestion of each stream goes, for the page of that name."""

from dataclasses import replace

import streamlit as st

from headrace.clock import time_at
from headrace.config import Settings
from headrace.definitions.load import inspect_declarations
from headrace.definitions.properties import LATE_ROWS_TOTAL
from headrace.definitions.stream import Stream
from headrace.errors import LakeError, LakeNotFoundError
from headrace.ingest import dead_letters, progress, watermark
from headrace.ingest.letters import groups, readable
from headrace.ingest.owner import FLINK, Owner
from headrace.ingest.refused_window import RefusedWindow
from headrace.standing.facts import Unreadable
from headrace.standing.wording import moment
from headrace.tables.lake import OpenLake
from ui.facts import IngestFacts, LetterFacts
from ui.ingest_history import history
from ui.reading import FRESH_S

__all__ = ["ingest_facts"]


def ingest_facts() -> tuple[IngestFacts, ...]:
    """Read how the ingestion of each declared stream goes; empty if there is no lake.

    Raises:
        LakeError: If the settings or the lake cannot be read.

    """
    settings = Settings.load()
    return _ingest_facts(settings, state_dir=str(settings.state_dir))


@st.cache_data(ttl=FRESH_S, max_entries=8, show_spinner=False)
def _ingest_facts(_settings: Settings, *, state_dir: str) -> tuple[IngestFacts, ...]:
    _ = state_dir  # the cache's key
    declared = inspect_declarations(_settings)
    try:
        opened = OpenLake.existing(_settings)
    except LakeNotFoundError:
        return ()
    with opened as lake:
        return tuple(_ingest(lake, stream) for stream in declared.streams.values())


def _ingest(lake: OpenLake, stream: Stream) -> IngestFacts:
    """Read how one stream goes; a table that cannot be read hides no other stream."""
    said = progress.read(lake.settings, stream.name)
    ended_at = None if said is None else time_at(said.former_ended_ms)
    told = IngestFacts(
        name=stream.name,
        table=str(stream.table),
        service=None if said is None else said.phase_now,
        lag=None if said is None else sum(said.lag.values()),
        behind_s=None if said is None else said.behind_s,
        slowed_by="" if said is None else said.stretch_reason,
        error="" if said is None else said.error,
        former=f"ended at {moment(ended_at)} UTC with {said.former_error}"
        if said is not None and ended_at is not None
        else "",
    )
    try:
        return _with_tables(told, lake, stream)
    except LakeError as error:
        return replace(told, unreadable=Unreadable.of(stream.name, error))


def _with_tables(told: IngestFacts, lake: OpenLake, stream: Stream) -> IngestFacts:
    head = lake.head_of(stream.table)
    properties = {} if head is None else head.properties
    window = RefusedWindow.read(properties)
    letters = _letters(lake, stream)
    owner = Owner.read(properties, stream=stream.name)
    return replace(
        told,
        owner=owner.by,
        epoch=owner.epoch,
        rows=0 if head is None else head.row_count,
        dead_letters=sum(each.count for each in letters),
        service="job of Flink" if owner.by == FLINK else told.service,
        watermark=watermark.as_time(watermark.read(properties)),
        committed_at=time_at(None if head is None else head.committed_at_ms),
        late_rows=int(properties.get(LATE_ROWS_TOTAL, "0")),
        refused_share=window.refused / max(1, window.records),
        history=history(lake, stream),
        letters=letters,
    )


def _letters(lake: OpenLake, stream: Stream) -> tuple[LetterFacts, ...]:
    head = lake.head_of(dead_letters.TABLE)
    if head is None:
        return ()
    return _letters_at(lake, stream, name=stream.name, metadata_location=head.metadata_location)


@st.cache_data(max_entries=64, show_spinner=False)
def _letters_at(
    _lake: OpenLake, _stream: Stream, *, name: str, metadata_location: str
) -> tuple[LetterFacts, ...]:
    _ = name, metadata_location
    return tuple(
        LetterFacts(
            code=each.code,
            field=each.field,
            count=each.count,
            first_seen=each.first_seen,
            last_seen=each.last_seen,
            reason=each.reason,
            first_bytes=readable(each.first_bytes),
            example=f"{each.example.source}:{each.example.partition}:{each.example.offset}",
        )
        for each in groups(_lake, _stream)
    )
