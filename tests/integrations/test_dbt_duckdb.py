"""Materializations on Iceberg: what each strategy leaves in the table, and what it refuses."""

import datetime as dt
from pathlib import Path
from typing import Any

import pyarrow as pa

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


def test_a_changed_macro_rebuilds_the_models_that_use_it(project: Project) -> None:
    macro = project.folder / "macros" / "bonus.sql"
    macro.write_text("{% macro bonus() %}1{% endmacro %}")
    sql = "{{ config(materialized='table') }} select id %s as v from {{ source('raw', 'events') }}"
    project.model("uses", sql % "+ {{ headrace.bonus() }}")
    project.model("ignores", sql % "+ 0")
    project.events({"id": 1, "event_time": day(1)})
    project.run()

    macro.write_text("{% macro bonus() %}2{% endmacro %}")

    assert project.run() == {"uses": "replaced", "ignores": "unchanged"}
    assert project.rows("uses") == [(3,)]


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


def test_two_new_rows_of_one_key_are_refused(project: Project) -> None:
    project.model(
        "twice",
        """
        {{ config(materialized='incremental', incremental_strategy='merge', unique_key='id') }}
        select id, name from {{ source('raw', 'events') }}
        """,
    )
    project.events(
        {"id": 7, "name": "a", "event_time": day(1)}, {"id": 7, "name": "b", "event_time": day(1)}
    )

    message = project.run()["twice"]

    assert "id=7" in message
    assert not project.lake.exists("out.twice")


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


def test_a_model_that_gives_rows_of_other_days_is_refused(project: Project) -> None:
    project.model("daily", DAILY.replace("{{ headrace.read_range('event_time') }}", "true"))
    project.events({"id": 1, "name": "a", "event_time": day(1)})
    project.run()
    project.events({"id": 2, "name": "b", "event_time": day(2)})

    assert "headrace.write_range" in project.run()["daily"]
    assert project.rows("daily") == [(1, "a", day(1))]


def test_an_input_without_days_rebuilds_everything(project: Project) -> None:
    project.model("daily", DAILY.replace("'events'", "'loose'"))
    project.events({"id": 1, "name": "a", "event_time": day(1)}, table="raw.loose")
    project.run()
    project.events({"id": 2, "name": "b", "event_time": day(2)}, table="raw.loose")

    assert project.run() == {"daily": "replaced"}
    assert [row[0] for row in project.rows("daily")] == [1, 2]


def test_new_columns_are_added_and_old_ones_stay(project: Project) -> None:
    project.model("daily", DAILY)
    project.events({"id": 1, "name": "a", "n": 5, "event_time": day(1)})
    project.run()

    project.model("daily", DAILY.replace("select id, name, event_time", "select id, event_time, n"))
    project.run()

    assert project.lake.table("out.daily").head().schema.names == ["id", "name", "event_time", "n"]
    assert project.rows("daily") == [(1, None, day(1), 5)]


def test_types_that_a_table_would_change_silently_are_refused(project: Project) -> None:
    table = "{{ config(materialized='table') }} select %s as x from {{ source('raw', 'events') }}"
    project.model("huge", table % "sum(n)")
    project.model("naive", table % "cast(event_time as timestamp)")
    project.model("odd", table % "interval '1' day")
    project.model(
        "declared",
        table % "n",
        "    columns: [{name: x, data_type: long}]\n",
    )
    project.model(
        "absent",
        table % "n",
        "    columns: [{name: y, data_type: int}]\n",
    )

    messages = project.run()

    for name in ("huge", "naive", "odd", "declared", "absent"):
        assert f"model `out.{name}`, column `" in messages[name]
        assert not project.lake.exists(f"out.{name}")
    assert "cast(sum(…) as bigint)" in messages["huge"]
    assert "declared long, the SQL gives INTEGER" in messages["declared"]


def test_a_null_in_a_required_column_is_refused(project: Project) -> None:
    project.model(
        "strict",
        "{{ config(materialized='table') }} select id, name from {{ source('raw', 'events') }}",
        "    columns: [{name: name, data_type: string, constraints: [{type: not_null}]}]\n",
    )
    project.events({"id": 1, "name": "a", "event_time": day(1)})
    assert project.run() == {"strict": "replaced"}
    assert not project.lake.table("out.strict").head().schema.field("name").nullable
    project.events({"id": 2, "name": None, "event_time": day(1)})

    assert "required column `name` is null" in project.run()["strict"]
    assert project.rows("strict") == [(1, "a")]


def test_declarations_that_make_no_sense_are_named(project: Project) -> None:
    project.model(
        "view",
        "{{ config(materialized='table') }} select id from {{ source('raw', 'events') }}",
        "    config: {meta: {headrace: {entity: [id], ttl: soon}}}\n",
    )
    project.model(
        "keyless",
        "{{ config(materialized='incremental', incremental_strategy='merge') }}"
        " select id from {{ source('raw', 'events') }}",
    )

    messages = project.run()

    assert "`soon` is not a duration" in messages["view"]
    assert "needs a `unique_key`" in messages["keyless"]


def test_models_see_through_ephemeral_models_to_their_inputs(project: Project) -> None:
    project.model(
        "between",
        "{{ config(materialized='ephemeral') }} select id from {{ source('raw', 'events') }}",
    )
    project.model("end", "{{ config(materialized='table') }} select id from {{ ref('between') }}")
    project.events({"id": 1, "event_time": day(1)})
    project.run()
    (record,) = project.lake.registry.commits("out.end")
    assert set(record.inputs) == {"raw.events"}

    between = project.folder / "models" / "between.sql"
    between.write_text(between.read_text().replace("select id", "select id + 1 as id"))

    assert project.run()["end"] == "replaced"
    assert project.rows("end") == [(2,)]


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


def test_a_model_that_reads_a_table_with_damaged_metadata_is_refused(project: Project) -> None:
    sql = "{{ config(materialized='table') }} select id from {{ source('raw', 'events') }}"
    project.model("plain", sql)
    project.events({"id": 1, "name": None, "event_time": day(1)})
    (manifest,) = (Path(local_path(project.lake.table("raw.events").iceberg().location()))).glob(
        "metadata/*-m0.*avro"
    )
    content = bytearray(manifest.read_bytes())
    content[-20] ^= 1
    manifest.write_bytes(content)
    found = project.run()["plain"]
    assert manifest.name in found
    assert "checksum" in found


def test_a_model_is_refused_that_reads_a_file_with_a_flipped_bit(project: Project) -> None:
    sql = "{{ config(materialized='table') }} select id from {{ source('raw', 'events') }}"
    project.model("plain", sql)
    project.events({"id": 1, "name": None, "event_time": day(1)})
    path = Path(project.lake.table("raw.events").head().files()[0].path)
    content = bytearray(path.read_bytes())
    content[60] ^= 1
    path.write_bytes(content)
    assert path.name in project.run()["plain"]
    assert not project.lake.exists("out.plain")


def test_one_damaged_table_fails_only_the_models_that_read_it(project: Project) -> None:
    sql = "{{ config(materialized='table') }} select id from {{ source('raw', 'TABLE') }}"
    project.model("plain", sql.replace("TABLE", "events"))
    project.model("other", sql.replace("TABLE", "loose"))
    project.events({"id": 1, "name": None, "event_time": day(1)})
    Path(project.lake.table("raw.events").head().metadata_location).unlink()
    project.lake.catalog._remembered.clear()  # pyright: ignore  (as another process would not know it)
    found = project.run()
    assert "metadata.json" in found["plain"]
    assert found["other"] == "replaced"
