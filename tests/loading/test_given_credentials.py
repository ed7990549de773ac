"""Credentials that a REST catalog gives, for everything that reads and writes files."""

from dataclasses import replace
from pathlib import Path

import pytest

from headrace.api import Lake
from headrace.config import Settings
from headrace.datasets.files import FilePlan
from headrace.engines.duckdb import DuckDBEngine
from headrace.errors import StoreUnavailableError
from headrace.loading import SampleLoader
from headrace.maintenance.cleanup.cleanup import plan_cleanup
from headrace.maintenance.compaction.compact import compact
from headrace.model_inputs.spec import FeatureSpec
from tests.maintenance.cleanup.cleaning import later
from tests.rest_catalog import rest_catalog
from tests.s3 import S3Place
from tests.tables.factories import add, events_table, ids_of


def test_files_are_reached_by_the_credentials_that_the_catalog_gives(
    settings: Settings, s3: S3Place, tmp_path: Path
) -> None:
    assert settings.s3 is None
    place = f"{s3.uri}/vended"
    with rest_catalog(tmp_path, warehouse=place, access=s3.properties) as rest:
        rest.given = s3.properties
        own = replace(settings, catalog=f"rest+{rest.uri}")
        with Lake.open(own) as lake:
            table = events_table(lake)
            for number in range(3):
                add(table, [number])
            assert table.head().metadata.location.startswith(place)
            assert compact(table).changed
            assert ids_of(table) == [0, 1, 2]
            with DuckDBEngine.open(own) as engine:
                engine.bind("events", table.head())
                total = engine.query("select sum(id) as total from events").read_all()
            assert total["total"].to_pylist() == [3]
            spec = FeatureSpec(sparse=["id"])
            with SampleLoader(FilePlan.of(table.head()), spec=spec, batch_size=2) as loader:
                assert sum(len(batch) for batch in loader) == 3
            assert plan_cleanup(table, now=later()).uploads == ()
        rest.given = {**s3.properties, "s3.secret-access-key": "of somebody else"}
        with Lake.existing(own) as lake, pytest.raises(StoreUnavailableError):
            ids_of(lake.table("raw.events"))
