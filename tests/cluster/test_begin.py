"""What a run of these tests begins with."""

import pyarrow as pa
from pyarrow.fs import FileSelector

from headrace.api import Lake
from headrace.config import Settings
from headrace.identifiers import STAGING_NAMESPACE
from infra.launcher import s3
from infra.trino.catalog import WAREHOUSE
from tests.cluster.conftest import begin
from tests.cluster.servers import Servers
from tests.cluster.trino_lakes import on_servers


def test_a_run_begins_without_what_a_killed_one_left(servers: Servers, settings: Settings) -> None:
    catalog = servers.catalog()
    catalog.create_namespace_if_not_exists(STAGING_NAMESPACE)
    left = catalog.create_table(f"{STAGING_NAMESPACE}.left", pa.schema([("n", pa.int64())]))
    left.append(pa.table({"n": [1]}))
    catalog.close()
    begin(servers)
    below = FileSelector(WAREHOUSE.removeprefix("s3://"), allow_not_found=True)
    assert s3.filesystem(servers.cluster).get_file_info(below) == []
    with Lake.open(on_servers(servers, settings, catalog="lake")) as lake:
        assert lake.names() == []
