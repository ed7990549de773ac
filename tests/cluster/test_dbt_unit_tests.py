"""Unit tests of dbt models on the target `cluster`: Trino runs the SQL that it runs in a build."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from headrace.api import Lake
from headrace.config import Settings
from tests.cluster.servers import Servers
from tests.cluster.trino_lakes import on_servers, shared_lake
from tests.dbt.conftest import dbt, dbt_target
from tests.dbt.raw_lake import RawLake
from tests.integrations.conftest import Project, project, project_folder

__all__ = ["dbt", "dbt_target", "project", "project_folder"]

# DuckDB knows none of the functions
_MODEL = """
select id, name, cast(to_unixtime(date_trunc('second', event_time)) as bigint) as seconds,
  cardinality(sequence(1, n)) as counted
from {{ source('raw', 'events') }}
"""
_UNIT_TEST = """
unit_tests:
  - name: seconds_are_counted
    model: counted
    given:
      - input: source('raw', 'events')
        rows:
          - {id: 1, n: 3, event_time: 1970-01-02 00:00:01.5+00}
          - {id: 2, n: 1, name: "it's", event_time: 2026-03-01 10:00:00+00}
    expect:
      rows:
        - {id: 1, seconds: 86401, counted: 3, name: null}
        - {id: 2, seconds: 1772359200, counted: THE_SECOND, name: "it's"}
"""


@pytest.fixture
def lake(servers: Servers, settings: Settings) -> Iterator[Lake]:
    with shared_lake(on_servers(servers, settings)) as opened:
        yield opened


def unit_tests(project: Project, *, expected: int) -> dict[str, str]:
    project.model("counted", _MODEL, _UNIT_TEST.replace("THE_SECOND", str(expected)))
    return project.run("--target", "cluster", "--select", "test_type:unit", verb="test")


def test_a_unit_test_is_computed_by_trino_and_compared_by_value(project: Project) -> None:
    assert unit_tests(project, expected=1) == {"seconds_are_counted": None}
    (said,) = unit_tests(project, expected=2).values()
    assert "differs" in said
    assert not project.lake.exists("out.counted")


def test_unit_tests_of_the_projects_models_pass_in_trinos_own_sql(
    servers: Servers, tmp_path: Path, dbt: Callable[..., Any]
) -> None:
    def placed(settings: Settings) -> Settings:
        return on_servers(servers, settings)

    with RawLake(tmp_path / "state", placed=placed) as raw, shared_lake(raw.settings):
        assert dbt(raw.settings, "run").success  # empty, but there: unit tests read the types
        ran = dbt(
            raw.settings,
            "test",
            "--select",
            "test_type:unit",
            "--target",
            "cluster",
            target=tmp_path,
        )
        assert ran.success, [result.message for result in ran.result]
        assert len(ran.result) == 8
        sent = servers.query(
            "select count(*) from system.runtime.queries"
            " where query like '%__dbt__cte__impressions%' and state = 'FINISHED'"
        )
        assert sent != [[0]]
