"""A simulated week ends with the same content hash on one disk, on servers with DuckDB, and with Trino."""

import logging
import uuid
from collections.abc import Collection

import pytest

from benchmarks.river import FILES_PER_MILLION
from benchmarks.river_on_servers import DUCKDB, LOCAL, TRINO, flow
from infra.launcher import s3
from infra.launcher.cluster import write_private
from tests.cluster.servers import Servers

_LOG = logging.getLogger(__name__)
WEEK_S_MAX = 7_200  # two cores that do other work took 20 minutes for two of the three places
MANY = 2_000_000


def week(servers: Servers, impressions: int, *, files: int, wanted: Collection[str]) -> None:
    servers.clear()
    given = servers.environment()
    shared = {name: value for name, value in given.items() if name.startswith("HEADRACE_")}
    for name in ("HEADRACE_PROFILE", "HEADRACE_STATE_DIR"):  # of the repository's lake
        del shared[name]
    try:
        with servers.database() as uri:
            address = servers.cluster.folder / "of_the_week"
            write_private(address, uri)
            apart = {
                "HEADRACE_CATALOG_URI_FILE": str(address),
                "HEADRACE_WAREHOUSE": f"s3://{s3.BUCKET}/{uuid.uuid4().hex}",
            }
            places = {
                LOCAL: {},
                DUCKDB: {**shared, **apart, "HEADRACE_ENGINE": "duckdb"},
                TRINO: {**shared, "HEADRACE_ENGINE": "trino"},
            }
            places = {place: places[place] for place in wanted}
            found = flow(impressions, files=files, places=places)
    finally:
        servers.clear()
    # what the long form is run for: `pytest -rP --log-level=info` shows it
    for stage, measured in found.stages.items():
        _LOG.info(
            "%s: %s", stage, {place: round(each.wall_s, 1) for place, each in measured.items()}
        )
    _LOG.info("%s", found.hashes)
    assert len(found.hashes) == len(wanted)
    assert found.agrees, found.hashes
    published = {place: each.figure("rows") for place, each in found.stages["publish"].items()}
    assert len(set(published.values())) == 1
    assert 0.9 * impressions < published[LOCAL] <= impressions


@pytest.mark.proof
@pytest.mark.timeout(1_800)  # ten minutes were too few beside other work
def test_a_simulated_week_has_one_content_hash_wherever_it_is_computed(servers: Servers) -> None:
    # short forms: four days by Trino in `test_trino_killed.py`, the demo on servers with DuckDB
    week(servers, 20_000, files=6, wanted=[LOCAL, TRINO])


@pytest.mark.proof
@pytest.mark.timeout(WEEK_S_MAX)
def test_two_million_impressions_have_one_content_hash_wherever_they_are_computed(
    servers: Servers,
) -> None:
    week(servers, MANY, files=FILES_PER_MILLION * MANY // 1_000_000, wanted=[LOCAL, DUCKDB, TRINO])
