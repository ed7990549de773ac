"""Checks declarations against the tables of a lake: what contradicts them, and what sample sets lack."""

from collections.abc import Iterator, Mapping

from headrace.clock import EPOCH, ONE_US
from headrace.config import Settings
from headrace.definitions.across import KnownTable
from headrace.definitions.feature_view import FeatureView
from headrace.definitions.load import Declarations
from headrace.definitions.problem import Finding, Problem, problem_of, shown
from headrace.definitions.properties import FEATURE_VIEW_PROPERTY
from headrace.definitions.source_lines import read_document
from headrace.definitions.stream_times import doubt_of
from headrace.errors import LakeError
from headrace.samples.lost_models import lost_models_of
from headrace.samples.watermarks import watermark_us
from headrace.tables.declare import contradiction
from headrace.tables.lake import OpenLake
from headrace.tables.readable import read_each
from headrace.tables.version import TableVersion


def known_tables(lake: OpenLake) -> dict[str, KnownTable]:
    """Return every table of a lake that can be read."""
    read = read_each(lake, lambda table: table.head())
    return {str(head.name): _known(head) for head in read.found}


def _known(head: TableVersion) -> KnownTable:
    text = head.properties.get(FEATURE_VIEW_PROPERTY)
    entity = () if text is None else FeatureView.from_property(head.name, text).entity
    return KnownTable(columns=frozenset(head.schema.names), entity=entity)


def contradictions(lake: OpenLake, declared: Declarations, settings: Settings) -> Iterator[Problem]:
    """Report each contract that its table cannot be brought in line with."""
    for stream in declared.streams.values():
        if not lake.exists(stream.table):
            continue
        try:
            error = contradiction(
                lake.table(stream.table), stream.table_schema(), partition_by=stream.partition_by
            )
        except LakeError:  # a table that cannot be read is no fault of its contract
            continue
        if error is None:
            continue
        path = declared.stream_files[stream.name]
        text = f"{error.detail} in `{stream.table}`; {error.of_stream(stream.name).remedy}"
        finding = Finding(("fields", error.column or ""), text)
        yield problem_of(finding, read_document(path), file=shown(path, settings.root))


def doubts(lake: OpenLake, declared: Declarations, settings: Settings) -> Iterator[Problem]:
    """Report streams whose events all seem to be of another century."""
    for stream in declared.streams.values():
        if stream.time_field is None or not lake.exists(stream.table):
            continue
        try:
            reached_us = watermark_us(lake, lake.table(stream.table).head())
        except LakeError:  # `headrace tables health` names it
            continue
        newest = None if reached_us is None else EPOCH + reached_us * ONE_US
        text = doubt_of(newest, time_field=stream.time_field)
        if text is not None:
            path = declared.stream_files[stream.name]
            finding = Finding(("fields", stream.time_field), text)
            yield problem_of(finding, read_document(path), file=shown(path, settings.root))


def lost(lake: OpenLake, declared: Declarations, settings: Settings) -> Iterator[Problem]:
    """Report what sample sets read and no dbt model builds any more."""
    for name, sample_set in declared.sample_sets.items():
        path = declared.sample_set_files[name]
        for finding in lost_models_of(lake, sample_set):
            yield problem_of(finding, read_document(path), file=shown(path, settings.root))


def merged(
    models: Mapping[str, KnownTable], tables: Mapping[str, KnownTable]
) -> dict[str, KnownTable]:
    """Join what is known of models and of the tables that they built before."""
    return dict(tables) | {
        name: each.also(tables[name]) if name in tables else each for name, each in models.items()
    }
