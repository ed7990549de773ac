"""The macro `first_arrivals` in a model that is built bit by bit: one event is one row, however late it comes."""

import datetime as dt

from headrace.api import Lake
from headrace.identifiers import TableName
from tests.dbt.raw_lake import START
from tests.dbt.usual_views import LOG
from tests.integrations.conftest import Project

_SQL = """
{{ config(materialized='incremental', incremental_strategy='insert_overwrite') }}
with source as (
    select * from {{ source('raw', 'log') }} where {{ headrace.read_range_beyond('event_time', 1) }}
),
{{ headrace.first_arrivals('source', 'item', '24h') }}
select item, event_time, known_at from first_arrivals
"""
_YAML = """
    config:
      meta:
        headrace_table: {partition_by: [day(event_time)], reach_days: 1, reach_back_days: 1}
"""


def test_an_event_goes_when_a_copy_of_the_next_day_turns_out_to_have_come_before_it(
    project: Project, lake: Lake
) -> None:
    lake.create(TableName("raw", "log"), LOG, partition_by=["day(event_time)"])
    sources = "sources:\n  - name: raw\n    tables: [{name: log}]\n"
    (project.folder / "models" / "sources.yml").write_text(sources)
    project.model("staged", _SQL, _YAML)

    def add(*events: tuple[str, float, float]) -> None:
        rows = [
            {
                "user_id": 1,
                "item": item,
                "event_time": START + dt.timedelta(hours=at),
                "known_at": START + dt.timedelta(hours=known),
                "_source": "s",
                "_source_partition": 0,
                "_source_offset": offset,
            }
            for offset, (item, at, known) in enumerate(events)
        ]
        project.events(*rows, table="raw.log")

    def staged() -> list[tuple[str, float]]:
        project.run()
        found = project.rows("staged")
        return [(item, (when - START) / dt.timedelta(hours=1)) for item, when, _ in found]

    add(("a", 71, 90), ("z", 20, 20))
    assert staged() == [("a", 71), ("z", 20)]
    add(("a", 73, 89))  # it was known before, and committed after
    assert staged() == [("a", 73), ("z", 20)]
    add(("b", 75, 75))
    assert staged() == [("a", 73), ("b", 75), ("z", 20)]
