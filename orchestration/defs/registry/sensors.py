"""Reports what the command line, services and other engines did to the lake."""

from collections.abc import Iterator

import dagster as dg

from headrace.errors import LakeError
from headrace.identifiers import TableName
from headrace.ingest import dead_letters
from orchestration.lib.declared import Declared, read_declared
from orchestration.lib.observed import Cursor, Event, Observer
from orchestration.lib.resource import LakeResource


@dg.sensor(
    minimum_interval_seconds=60,
    description=(
        "Reports each commit and dataset version made outside of Dagster, once and in its order: "
        "new data as a materialization, which automation acts on, maintenance as an observation."
    ),
)
def outside_work(context: dg.SensorEvaluationContext, lake: LakeResource) -> dg.SensorResult:
    """Compare every table's commits with the events of its asset."""
    cursor = Cursor.parse(context.cursor)
    found: list[Event] = []
    failed: list[LakeError] = []
    with lake.open() as opened:
        declared = read_declared(opened.settings)
        observer = Observer(opened, context.instance, cursor)
        for name in _tables(declared):
            try:
                if opened.exists(name):
                    found += observer.commits(name)
            except LakeError as error:  # the other tables are reported
                context.log.error(f"{name}: {error}")
                failed.append(error)
        for each in declared.sample_sets:
            found += observer.versions(each.name)
    if failed and not found:
        raise failed[0]
    skipped = None if found else "nothing new was done outside of Dagster"
    return dg.SensorResult(asset_events=found, cursor=cursor.text(), skip_reason=skipped)


def _tables(declared: Declared) -> Iterator[TableName]:
    yield from (stream.table for stream in declared.streams)
    yield dead_letters.TABLE
    yield from declared.models.values()
    yield from (each.table for each in declared.sample_sets)
