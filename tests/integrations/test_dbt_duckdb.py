"""Materializations on Iceberg: what each strategy leaves in the table, and what it refuses."""

import datetime as dt
from pathlib import Path
from typing import Any

import pyarrow as pa

from headrace.identifiers import TableName
from headrace.maintenance.compaction.compact import compact
from headrace.storage.locations import local_path
from tests.integrations.conftest import Project
from tests.tables.delete_files import delete_values


def day(number: int, hour: int = 12) -> dt.datetime:
    return dt.datetime(2026, 3, number, hour, tzinfo=dt.UTC)


def test_a_table_is_replaced_in_one_snapshot_and_only_when_something_changed(
    project: Project,
) -> None:
    sql = "{{ config(materialized='table') }} select id, name from {{ source('raw', 'events') }}"
    project.model("plain", sql)

    # an empty input gives an empty table, with a commit that says so
    assert project.run() == {"plain": "replaced"}
    assert project.rows("plain") == []
    assert project.run() == {"plain": "unchanged"}

    project.events(
        {"id": 1, "name": "a", "event_time": day(1)}, {"id": 2, "name": "b", "event_time": day(2)}
    )
    assert project.run() == {"plain": "replaced"}
    assert project.rows("plain") == [(1, "a"), (2, "b")]
    assert project.run() == {"plain": "unchanged"}
    assert len(project.lake.registry.commits("out.plain")) == 2

    project.model("plain", sql + " where id > 1")
    assert project.run() == {"plain": "replaced"}
    assert project.rows("plain") == [(2, "b")]


def test_append_adds_what_the_model_calls_new(project: Project) -> None:
    project.model(
        "log",
        """
        {{ config(materialized='incremental', incremental_strategy='append') }}
        select id, name from {{ source('raw', 'events') }}
        {% if is_incremental() %} where id > (select max(id) from {{ this }}) {% endif %}
        """,
    )
    project.events({"id": 1, "name": "a", "event_time": day(1)})
    assert project.run() == {"log": "replaced"}
    project.events({"id": 2, "name": "b", "event_time": day(2)})
    assert project.run() == {"log": "appended"}
    project.events({"id": 1, "name": "old", "event_time": day(2)})
    assert project.run() == {"log": "unchanged"}
    assert project.rows("log") == [(1, "a"), (2, "b")]
    assert project.run("--full-refresh") == {"log": "replaced"}
    assert len(project.rows("log")) == 3


MERGE = """
{{ config(materialized='incremental', incremental_strategy='merge', unique_key=['id', 'name'],
          meta={'headrace_table': {'partition_by': %s}}) }}
select id, name, max(n) as n, max(event_time) as event_time from {{ source('raw', 'events') }}
{%% if is_incremental() %%} where n > (select coalesce(max(n), 0) from {{ this }}) {%% endif %%}
group by id, name
"""


def test_merge_replaces_rows_of_equal_keys_and_null_is_a_key(project: Project) -> None:
    for name, partition_by in {
        "whole": [],
        "daily": ["day(event_time)"],
        "named": ["name"],
    }.items():
        project.model(name, MERGE % partition_by)
    project.events(
        {"id": 1, "name": "a", "n": 1, "event_time": day(1)},
        {"id": 1, "name": "b", "n": 1, "event_time": day(1)},
        {"id": 2, "name": None, "n": 1, "event_time": day(2)},
        {"id": None, "name": None, "n": 1, "event_time": day(3)},
        {"id": 9, "name": "c", "n": 1, "event_time": day(4)},
    )
    assert set(project.run().values()) == {"replaced"}
    untouched = {
        e.path for e in project.lake.table("out.daily").head().files(partitions=[(day(4).date(),)])
    }

    project.events(
        {"id": 1, "name": "a", "n": 2, "event_time": day(5)},  # moves to another day
        {"id": 2, "name": None, "n": 2, "event_time": day(2)},
        {"id": None, "name": None, "n": 2, "event_time": day(3)},
        {"id": 3, "name": "a", "n": 2, "event_time": day(1)},
    )
    assert set(project.run().values()) == {"merged"}

    expected = sorted(
        [
            (1, "a", 2, day(5)),
            (1, "b", 1, day(1)),
            (2, None, 2, day(2)),
            (None, None, 2, day(3)),
            (3, "a", 2, day(1)),
            (9, "c", 1, day(4)),
        ],
        key=repr,
    )
    for name in ("whole", "daily", "named"):
        assert project.rows(name) == expected
    kept = {
        e.path for e in project.lake.table("out.daily").head().files(partitions=[(day(4).date(),)])
    }
    assert kept == untouched


DAILY = """
{{ config(materialized='incremental', incremental_strategy='insert_overwrite',
          meta={'headrace_table': {'partition_by': ['day(event_time)']}}) }}
select id, name, event_time from {{ source('raw', 'events') }}
where {{ headrace.read_range('event_time') }} and name != 'dropped'
"""


def test_insert_overwrite_replaces_the_days_its_input_touched(project: Project) -> None:
    project.model("daily", DAILY)
    project.events(
        {"id": 1, "name": "a", "event_time": day(1)}, {"id": 2, "name": "b", "event_time": day(3)}
    )
    assert project.run() == {"daily": "replaced"}

    # the touched day gives no row at all
    project.events({"id": 3, "name": "dropped", "event_time": day(2)})
    assert project.run() == {"daily": "overwritten"}
    assert project.run() == {"daily": "unchanged"}
    assert project.rows("daily") == [(1, "a", day(1)), (2, "b", day(3))]

    project.events(
        {"id": 4, "name": "c", "event_time": day(3, 0)},
        {"id": 5, "name": "d", "event_time": day(9, 23)},
    )
    assert project.run() == {"daily": "overwritten"}
    assert [row[0] for row in project.rows("daily")] == [1, 2, 4, 5]
    commits = project.lake.registry.commits("out.daily")
    assert sorted(commits[0].partitions) == ['["2026-03-03"]', '["2026-03-09"]']


def test_a_run_reads_what_was_there_when_it_started(project: Project) -> None:
    table = "{{ config(materialized='table') }} select id from {{ source('raw', 'events') }}"
    project.model("one", table)
    project.model("two", table + " where id not in (select -id from {{ ref('one') }})")
    project.events({"id": 1, "event_time": day(1)})

    def grow_after_one(event: Any) -> None:  # noqa: ANN401 - a protobuf made at run time
        if event.info.name == "NodeFinished" and event.data.node_info.node_name == "one":
            project.events({"id": 2, "event_time": day(1)})

    assert project.run("--threads", "1", on_event=grow_after_one) == {
        "one": "replaced",
        "two": "replaced",
    }
    assert len(project.lake.registry.commits("raw.events")) == 2
    assert project.rows("two") == [(1,)]

    project.run()
    assert project.rows("one") == project.rows("two") == [(1,), (2,)]


def test_only_models_that_read_a_table_duckdb_reads_wrong_are_refused(project: Project) -> None:
    project.model(
        "sound", "{{ config(materialized='table') }} select id from {{ source('raw', 'events') }}"
    )
    sql = "{{ config(materialized='table') }} select id from {{ source('raw', 'loose') }}"
    project.model("plain", sql)
    project.events({"id": 1, "name": None, "event_time": day(1)}, table="raw.loose")
    assert project.run() == {"sound": "replaced", "plain": "replaced"}
    project.events({"id": 2, "name": "gone", "event_time": day(1)}, table="raw.loose")
    loose = project.lake.table("raw.loose")
    delete_values(loose, pa.table({"name": ["gone"]}))

    found = project.run()
    assert found["sound"] == "unchanged"
    assert "headrace tables compact raw.loose --apply" in found["plain"]
    assert project.rows("plain") == [(1,)]

    compact(loose)
    assert project.run() == {"sound": "unchanged", "plain": "replaced"}
    assert project.rows("plain") == [(1,)]


TABLE = "{{ config(materialized='table') }} select %s from {{ source('raw', 'events') }}"
NO_TABLES = {
    "huge": ("sum(n) as x", "", "cast(sum(…) as bigint)"),
    "naive": ("cast(event_time as timestamp) as x", "", "column `x`"),
    "odd": ("interval '1' day as x", "", "column `x`"),
    "declared": (
        "n as x",
        "    columns: [{name: x, data_type: long}]\n",
        "declared long, the SQL gives INTEGER",
    ),
    "absent": ("n as x", "    columns: [{name: y, data_type: int}]\n", "column `y`"),
    "shown": (
        "id",
        "    config: {meta: {headrace: {entity: [id], ttl: soon}}}\n",
        "`soon` is not a duration",
    ),
}
NO_KEYS = {
    "twice": (", unique_key='id'", "id=7"),
    "keyless": ("", "needs a `unique_key`"),
    "some": (
        ", unique_key='id', merge_update_columns=['name']",
        "`merge_update_columns` is not supported",
    ),
    "never": (
        ", unique_key='id', on_schema_change='perhaps'",
        "on_schema_change `perhaps` is unknown",
    ),
}


def test_what_makes_no_sense_or_would_change_silently_is_refused_by_name(project: Project) -> None:
    for name, (columns, yaml, _) in NO_TABLES.items():
        project.model(name, TABLE % columns, yaml)
    for name, (said, _) in NO_KEYS.items():
        config = "materialized='incremental', incremental_strategy='merge'" + said
        sql = "{{ config(%s) }} select id, name from {{ source('raw', 'events') }}"
        project.model(name, sql % config)
    project.events(
        {"id": 7, "name": "a", "event_time": day(1)}, {"id": 7, "name": "b", "event_time": day(1)}
    )

    messages = project.run()

    why = {name: text for name, (*_, text) in (NO_TABLES | NO_KEYS).items()}
    assert {name: messages[name] for name, text in why.items() if text not in messages[name]} == {}
    for name in ("huge", "naive", "odd", "declared", "absent"):
        assert f"model `out.{name}`, column `" in messages[name]
    assert not [name for name in project.lake.names() if name.namespace == "out"]


def test_code_that_changes_rebuilds_what_depends_on_it_and_columns_are_added(
    project: Project,
) -> None:
    macro = project.folder / "macros" / "bonus.sql"
    macro.write_text("{% macro bonus() %}1{% endmacro %}")
    project.model("uses", TABLE % "id + {{ headrace.bonus() }} as v")
    project.model("ignores", TABLE % "id + 0 as v")
    project.model("daily", DAILY)
    project.model("between", (TABLE % "id").replace("'table'", "'ephemeral'"))
    project.model("end", "{{ config(materialized='table') }} select id from {{ ref('between') }}")
    project.events({"id": 1, "name": "a", "n": 5, "event_time": day(1)})
    project.run()
    (record,) = project.lake.registry.commits("out.end")
    assert set(record.inputs) == {"raw.events"}

    macro.write_text("{% macro bonus() %}2{% endmacro %}")
    project.model("daily", DAILY.replace("select id, name, event_time", "select id, event_time, n"))
    between = project.folder / "models" / "between.sql"
    between.write_text(between.read_text().replace("select id", "select id + 1 as id"))

    found = project.run()
    assert (found["uses"], found["ignores"], found["end"]) == ("replaced", "unchanged", "replaced")
    assert project.rows("uses") == [(3,)]
    assert project.rows("end") == [(2,)]
    # new columns are added, and those that the model has no more stay
    assert project.lake.table("out.daily").head().schema.names == ["id", "name", "event_time", "n"]
    assert project.rows("daily") == [(1, None, day(1), 5)]


def test_rows_that_a_model_may_not_give_are_refused_and_an_input_without_days_rebuilds_everything(
    project: Project,
) -> None:
    project.model("beyond", DAILY.replace("{{ headrace.read_range('event_time') }}", "true"))
    project.model("daily", DAILY.replace("'events'", "'loose'"))
    required = "    columns: [{name: name, data_type: string, constraints: [{type: not_null}]}]\n"
    project.model("strict", TABLE % "id, name", required)
    project.events({"id": 1, "name": "a", "event_time": day(1)})
    project.events({"id": 1, "name": "a", "event_time": day(1)}, table="raw.loose")
    assert set(project.run().values()) == {"replaced"}
    assert not project.lake.table("out.strict").head().schema.field("name").nullable
    project.events(
        {"id": 2, "name": "b", "event_time": day(2)}, {"id": 3, "name": None, "event_time": day(2)}
    )
    project.events({"id": 2, "name": "b", "event_time": day(2)}, table="raw.loose")

    found = project.run()

    assert "headrace.write_range" in found["beyond"]
    assert project.rows("beyond") == [(1, "a", day(1))]
    assert found["daily"] == "replaced"
    assert [row[0] for row in project.rows("daily")] == [1, 2]
    assert "required column `name` is null" in found["strict"]
    assert project.rows("strict") == [(1, "a")]


def test_damaged_tables_fail_only_the_models_that_read_them_and_name_what_is_damaged(
    project: Project,
) -> None:
    names = ("events", "loose", "listed", "flipped", "gone")
    schema = project.lake.table("raw.events").head().schema
    for name in names[2:]:
        project.lake.create(TableName("raw", name), schema)
    tables = ", ".join(f"{{name: {name}}}" for name in names)
    sources = f"sources:\n  - name: raw\n    tables: [{tables}]\n"
    (project.folder / "models" / "sources.yml").write_text(sources)
    for name in names:
        project.model(f"of_{name}", (TABLE % "id").replace("'events'", f"'{name}'"))
        project.events({"id": 1, "name": None, "event_time": day(1)}, table=f"raw.{name}")

    listed = Path(local_path(project.lake.table("raw.listed").iceberg().location()))
    (manifest,) = listed.glob("metadata/*-m0.*avro")
    flip_bit(manifest, at=-20)
    data = Path(project.lake.table("raw.flipped").head().files()[0].path)
    flip_bit(data, at=60)
    Path(project.lake.table("raw.gone").head().metadata_location).unlink()
    project.lake.catalog._remembered.clear()  # pyright: ignore  (as another process would not know it)

    found = project.run()

    assert (found["of_events"], found["of_loose"]) == ("replaced", "replaced")
    assert manifest.name in found["of_listed"]
    assert "checksum" in found["of_listed"]
    assert data.name in found["of_flipped"]
    assert "metadata.json" in found["of_gone"]
    assert not [
        name for name in ("listed", "flipped", "gone") if project.lake.exists(f"out.of_{name}")
    ]


def flip_bit(path: Path, *, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)
