"""What Trino holds on to: files by their paths, and connections to the catalog's database."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from headrace.api import Lake
from headrace.config import Settings
from headrace.datasets.move import move_lake
from headrace.tables.move import plan_move
from infra.launcher import s3
from infra.launcher.cluster import INFRA
from infra.s3.requests import request
from tests.cluster.servers import Servers
from tests.cluster.trino_lakes import on_servers, shared_lake
from tests.tables.factories import add, events_table, ids_of

OTHER = "laka"  # as long as the name of the lake's bucket, so that metadata are as long too


@pytest.fixture
def lake(servers: Servers, settings: Settings) -> Iterator[Lake]:
    with shared_lake(on_servers(servers, settings, catalog="lake")) as opened:
        yield opened


@pytest.fixture
def bucket(servers: Servers) -> str:
    """A bucket in which every role may do what it may do in that of the lake."""
    policy = (INFRA / "s3" / "policy.json").read_text().replace(":::lake", f":::{OTHER}")
    place, root = f"{s3.endpoint(servers.cluster)}/{OTHER}", s3.key(servers.cluster)
    s3.filesystem(servers.cluster).create_dir(OTHER)
    request(place, root, method="PUT", query={"policy": ""}, body=policy.encode(), region=s3.REGION)
    return OTHER


def ids(servers: Servers, table: str) -> list[object]:
    return [each for (each,) in servers.query(f"select id from lake.raw.{table} order by id")]


def test_a_lake_moved_to_another_bucket_and_its_copy_are_each_read_as_they_are(
    servers: Servers, lake: Lake, bucket: str, tmp_path: Path
) -> None:
    for number in range(3):
        add(events_table(lake) if number == 0 else lake.table("raw.events"), [number])
    here = lake.settings
    there = replace(
        here,
        state_dir=tmp_path / "there",
        catalog_server=None,
        declared_warehouse=here.warehouse_uri.replace(f"s3://{s3.BUCKET}/", f"s3://{bucket}/"),
    )
    list(move_lake(here, there, plan_move(here, there)))
    with Lake.existing(there) as copied:
        copy = copied.table("raw.events")
        lake.catalog.register_table("raw.copy", copy.iceberg().metadata_location)
        assert ids(servers, "events") == ids(servers, "copy") == [0, 1, 2]
        add(lake.table("raw.events"), [10])
        add(copy, [20])
        lake.catalog.drop_table("raw.copy")
        lake.catalog.register_table("raw.copy", copy.iceberg().metadata_location)
    assert (ids(servers, "events"), ids(servers, "copy")) == ([0, 1, 2, 10], [0, 1, 2, 20])


def test_the_first_statement_after_a_restart_of_the_database_works(
    servers: Servers, lake: Lake
) -> None:
    table = events_table(lake)
    add(table, [1])
    assert ids(servers, "events") == [1]
    servers.stop("postgres")
    servers.start("postgres")
    assert ids(servers, "events") == [1]
    add(table, [2])
    assert ids_of(table) == ids(servers, "events") == [1, 2]
