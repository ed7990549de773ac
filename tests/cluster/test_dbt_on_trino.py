"""dbt models computed by Trino: the rows, commits and descriptions that DuckDB gives."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.api import Lake
from headrace.config import Settings
from headrace.definitions.feature_view import FeatureView
from headrace.definitions.properties import FEATURE_VIEW_PROPERTY
from headrace.integrations.dbt_build import build_features
from tests.cluster.servers import Servers
from tests.cluster.trino_lakes import on_servers, shared_lake
from tests.dbt.raw_lake import RawLake
from tests.dbt.test_incremental import traffic
from tests.integrations.conftest import Project, project, project_folder
from tests.integrations.test_dbt_duckdb import (
    day,
    test_append_adds_what_the_model_calls_new,
    test_insert_overwrite_replaces_the_days_its_input_touched,
    test_merge_replaces_rows_of_equal_keys_and_null_is_a_key,
)

pytestmark = pytest.mark.cluster
__all__ = [
    "project",
    "project_folder",
    "test_append_adds_what_the_model_calls_new",
    "test_insert_overwrite_replaces_the_days_its_input_touched",
    "test_merge_replaces_rows_of_equal_keys_and_null_is_a_key",
]

MODELS = (
    "staging.impressions",
    "staging.clicks",
    "staging.items",
    "features.item_ctr",
    "features.position_ctr",
    "features.segment_activity",
    "features.item_profile",
)


@pytest.fixture
def lake(servers: Servers, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lake]:
    """An empty lake in the catalog of Trino, whose models Trino computes."""
    monkeypatch.setenv("HEADRACE_DBT_TARGET", "cluster")
    with shared_lake(on_servers(servers, settings)) as opened:
        yield opened


def test_models_built_bit_by_bit_on_trino_are_those_built_at_once_on_duckdb(
    servers: Servers, tmp_path: Path
) -> None:
    rng = random.Random(7)
    increments = [
        traffic(rng, first_day=0, days=4, rows=120),
        traffic(rng, first_day=1, days=12, rows=20),  # late input, and far ends at once
    ]
    with RawLake(tmp_path / "local" / "state") as local:
        for increment in increments:
            for stream, rows in increment.items():
                local.append(stream, rows)
        build_features(local.settings)
        expected = {name: local.rows(name, without="_source_offset") for name in MODELS}
        codes = {name: local.lake.registry.commits(name)[0].code for name in MODELS}

    def placed(settings: Settings) -> Settings:
        return on_servers(servers, settings)

    with RawLake(tmp_path / "trino" / "state", placed=placed) as raw, shared_lake(raw.settings):
        done: list[str] = []
        for increment in increments:
            for stream, rows in increment.items():
                raw.append(stream, rows)
            built = build_features(raw.settings, run_id="on trino")
            assert built.tests_passed == 14
            done += [each.code for each in built.models if each.table == "features.item_ctr"]
        assert done == ["replaced", "overwritten"]
        assert {name: raw.rows(name, without="_source_offset") for name in MODELS} == expected
        assert not build_features(raw.settings).changed

        (edge, *_) = raw.lake.registry.commits("features.item_ctr")
        inputs = ("staging.impressions", "staging.clicks")
        heads = {name: raw.lake.table(name).head().snapshot_id for name in inputs}
        assert (edge.inputs, edge.run_id) == (heads, "on trino")
        assert {name: raw.lake.registry.commits(name)[0].code for name in MODELS} == codes
        version = raw.lake.table("features.item_ctr").head()
        view = FeatureView.from_property(version.name, version.properties[FEATURE_VIEW_PROPERTY])
        assert view.entity == ("campaign", "item_id")

        refreshed = build_features(raw.settings, select="item_ctr", full_refresh=True)
        assert [each.code for each in refreshed.models] == ["replaced"]
        assert (
            raw.rows("features.item_ctr", without="_source_offset") == expected["features.item_ctr"]
        )


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
