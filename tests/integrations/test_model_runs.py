"""What a run of dbt may change about a model: flags that read less, code elsewhere, another run."""

import datetime as dt
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from headrace.identifiers import TableName
from headrace.tables.commits import operations
from headrace.tables.commits.operations import Provenance
from headrace.tables.writer import write_batches
from tests.integrations.conftest import Project

FROM_EVENTS = "from {{ source('raw', 'events') }}"
TABLE = "{{ config(materialized='table') }} "
DAILY = """
{{ config(materialized='incremental', incremental_strategy='insert_overwrite',
          meta={'headrace_table': {'partition_by': ['day(event_time)']}}) }}
select id, event_time from {{ source('raw', 'events') }}
where {{ headrace.write_range('event_time') }}
"""
APPEND = """
{{ config(materialized='incremental', incremental_strategy='append') }}
select id, name from {{ source('raw', 'events') }} as events
{% if is_incremental() %}
  {% if execute %}{% set newest = run_query('select max(id) from ' ~ this).columns[0][0] %}{% endif %}
  where id > {{ newest }}
{% endif %}
"""


RECORD = pa.schema([("id", pa.int64()), ("name", pa.string())])
ONE = [{"id": 1, "name": "a"}]


def day(number: int) -> dt.datetime:
    return dt.datetime(2026, 3, number, 12, tzinfo=dt.UTC)


def test_a_run_that_reads_less_commits_nothing(project: Project) -> None:
    project.model("whole", f"{TABLE} select id {FROM_EVENTS}")
    project.model("daily", DAILY)
    project.events({"id": 1, "event_time": day(1)}, {"id": 2, "event_time": day(2)})
    project.run()
    project.events({"id": 3, "event_time": day(2)})
    project.model("up", f"{TABLE} select id, sum(id) over () as wrong {FROM_EVENTS}")
    project.model("upper", f"{TABLE} select id {FROM_EVENTS}")
    project.model("down", TABLE + "select id from {{ ref('upper') }}")
    before = [project.lake.table(f"out.{name}").head() for name in ("whole", "daily")]

    for flag in (["--empty"], ["--sample", "1 day"]):
        found = project.run(*flag)
        checked = dict.fromkeys(("whole", "daily", "upper", "down"), "checked")
        assert {name: code for name, code in found.items() if name != "up"} == checked
        assert "column `wrong`" in found["up"]
    assert [project.lake.table(f"out.{name}").head() for name in ("whole", "daily")] == before
    assert [str(name) for name in project.lake.names() if name.namespace == "out"] == [
        "out.daily",
        "out.whole",
    ]
    (project.folder / "models" / "up.sql").unlink()
    (project.folder / "models" / "up.yml").unlink()
    assert project.run() == {
        "whole": "replaced",
        "daily": "overwritten",
        "upper": "replaced",
        "down": "replaced",
    }
    for name in ("whole", "daily", "upper", "down"):
        assert [row[0] for row in project.rows(name)] == [1, 2, 3]


MODELS = {
    "by_var": "select n * {{ var('k', 1) }} as v " + FROM_EVENTS,
    "by_environment": "select n * {{ env_var('TEST_K') }} as v " + FROM_EVENTS,
    "by_yaml": "select n * {{ config.get('meta')['k'] }} as v " + FROM_EVENTS,
    "by_package": "select n * {{ other.factor() }} as v " + FROM_EVENTS,
    "by_ephemeral": "select n * k as v from {{ ref('factors') }}",
    "by_view": "select n * k as v from {{ ref('seen') }}",
    "by_query": "{% if execute %}{% set k = run_query('select ' ~ var('k', 1)).columns[0][0] %}{% endif %}"
    "select n * {{ k or 0 }} as v " + FROM_EVENTS,
}
# none of these is code: they differ in every run
STEADY = """
select id, '{{ invocation_id }}' as run, '{{ run_started_at }}' as began,
  '{{ modules.datetime.datetime.now() }}' as at, '{{ modules.datetime.date.today() }}' as day
from {{ source('raw', 'events') }} {% if flags.FULL_REFRESH %} where true {% endif %}
"""
BRANCH = (
    "{{ config(materialized='incremental', incremental_strategy='append') }} select n as v "
    + FROM_EVENTS
    + " {% if is_incremental() %} where id > {{ var('k', 1) }} {% endif %}"
)


def test_whatever_changes_the_sql_that_runs_is_a_changed_definition(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, sql in MODELS.items():
        project.model(name, TABLE + sql)
    for name, kind in {"factors": "ephemeral", "seen": "view"}.items():
        config = "{{ config(materialized='KIND') }}".replace("KIND", kind)
        project.model(name, f"{config} select n, {{{{ var('k', 1) }}}} as k {FROM_EVENTS}")
    project.model("by_branch", BRANCH)
    project.model("steady", TABLE + STEADY)
    project.events({"id": 9, "n": 5, "event_time": day(1)})

    def run(k: int) -> dict[str, str]:
        monkeypatch.setenv("TEST_K", str(k))
        macro = f"{{% macro factor() %}}{k}{{% endmacro %}}"
        (project.package / "macros" / "factor.sql").write_text(macro)
        config = f"    config: {{meta: {{k: {k}}}}}\n"
        project.model("by_yaml", TABLE + MODELS["by_yaml"], config)
        # for other variables dbt parses everything again: not what the tests after this one have
        other = ("--vars", f"{{k: {k}}}", "--target-path", str(tmp_path / "target"))
        found = project.run(*(other if k > 1 else ()))
        return {name: code for name, code in found.items() if name != "seen"}

    first, found = run(1), run(2)

    changing = {*MODELS, "by_branch"}
    assert first == dict.fromkeys((*changing, "steady"), "replaced")
    assert found == {**dict.fromkeys(changing, "replaced"), "steady": "unchanged"}
    assert {name: project.rows(name) for name in MODELS} == {name: [(10,)] for name in MODELS}


def test_another_runs_commit_makes_a_model_plan_and_render_again(project: Project) -> None:
    project.model("log", APPEND)
    project.model("odd", TABLE + "select id " + FROM_EVENTS)
    project.events({"id": 1, "name": "a", "event_time": day(1)})

    def build_beside(event: Any) -> None:  # noqa: ANN401 - a protobuf made at run time
        """Do what another run of the model does, between its plan and its commit."""
        executing = event.info.name == "NodeExecuting"
        if not executing or event.data.node_info.node_name != "log" or done:
            return
        done.append(True)
        other = project.lake.create(TableName("out", "log"), RECORD)
        newest = project.lake.table("raw.events").head().snapshot_id or 0
        files = write_batches(other, [pa.RecordBatch.from_pylist(ONE, schema=RECORD)])
        said = Provenance(code="r-other", inputs={"raw.events": newest})
        operations.append(other, files, provenance=said)

    done: list[bool] = []
    assert project.run(on_event=build_beside) == {"log": "replaced", "odd": "replaced"}
    assert done
    assert project.rows("log") == [(1, "a")]
    project.events({"id": 2, "name": "b", "event_time": day(1)})
    # what the model asks the database is data, not code: the rows that are there stay
    assert project.run() == {"log": "appended", "odd": "replaced"}
    assert project.rows("log") == [(1, "a"), (2, "b")]


def test_a_model_reads_its_own_table_as_it_is_when_its_build_is_planned(project: Project) -> None:
    project.model("log", APPEND)
    project.events({"id": 1, "name": "a", "event_time": day(1)})
    project.run()
    built = project.lake.registry.commits("out.log")[0]
    project.events({"id": 2, "name": "b", "event_time": day(1)})
    older = project.lake.table("raw.events").head().snapshot_id or 0
    project.events({"id": 3, "name": "c", "event_time": day(1)})

    def build_beside(event: Any) -> None:  # noqa: ANN401 - a protobuf made at run time
        """Let a run that has read less commit, after this one pinned all tables and before its plan."""
        compiling = event.info.name == "NodeCompiling"
        if not compiling or event.data.node_info.node_name != "log" or done:
            return
        done.append(True)
        other = project.lake.table("out.log")
        two = pa.RecordBatch.from_pylist([{"id": 2, "name": "b"}], schema=RECORD)
        said = Provenance(code=built.code, inputs={"raw.events": older})
        operations.append(other, write_batches(other, [two]), provenance=said)

    done: list[bool] = []
    assert project.run("--select", "log", on_event=build_beside) == {"log": "appended"}
    assert done
    assert project.rows("log") == [(1, "a"), (2, "b"), (3, "c")]


def test_a_model_that_no_commit_would_follow_is_refused(project: Project) -> None:
    project.model("lost", f"{TABLE} select id {FROM_EVENTS}")
    project.model("step", "{{ config(materialized='incremental') }} select id " + FROM_EVENTS)
    project.model("seen", "{{ config(materialized='view') }} select id " + FROM_EVENTS)
    (project.folder / "macros" / "root" / "materializations.sql").unlink()

    found = project.run()

    assert "`headrace.lost` was not built" in found["lost"]
    assert "`headrace.step` was not built" in found["step"]
    assert found["seen"] == "OK"
    assert not [name for name in project.lake.names() if name.namespace == "out"]

    # a materialization of one's own that calls headrace's is as good
    own = project.folder / "macros" / "own.sql"
    own.write_text(
        "{% materialization table, adapter='duckdb' %}{{ return(wrapped()) }}{% endmaterialization %}"
        "{% macro wrapped() %}{{ return(headrace.commit_model()) }}{% endmacro %}"
    )
    asks = "{{ config(materialized='table') }} select id, {{ dbt.is_incremental() }} as i "
    project.model("asks", asks + FROM_EVENTS)
    project.events({"id": 1, "event_time": day(1)})
    found = project.run("--select", "lost", "asks")
    assert found["lost"] == "replaced"
    assert "headrace.is_incremental()" in found["asks"]


@pytest.mark.parametrize("new", ["'reach_back_days'", "model.unique_id"])
def test_macros_of_an_earlier_version_are_refused_by_name(project: Project, new: str) -> None:
    macro = project.folder / "macros" / "rebuild.sql"
    kept = (line for line in macro.read_text().splitlines() if new not in line)
    macro.write_text("\n".join(kept))
    project.model("some", f"{{{{ config(materialized='table') }}}} select id {FROM_EVENTS}")

    found = project.run()

    assert "macros of an earlier version" in found["some"]
    assert not project.lake.exists(TableName("out", "some"))
