"""The store stops for half a minute while writers work: they go on or say so, and nothing is lost."""

import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.api import Lake
from headrace.errors import StoreUnavailableError
from headrace.maintenance.cleanup.cleanup import plan_cleanup
from headrace.tables.commits.operations import Provenance, append
from headrace.tables.writer import write_batches
from infra.launcher import run
from infra.launcher.cluster import Cluster
from infra.launcher.s3 import BUCKET, S3, endpoint
from tests.maintenance.cleanup.cleaning import later
from tests.s3 import S3Place
from tests.tables.factories import events, events_table, ids_of
from tests.waiting import wait_until

STOPPED_S = 30.0


@pytest.fixture
def stoppable() -> Iterator[tuple[Cluster, S3, S3Place]]:
    with tempfile.TemporaryDirectory(prefix="headrace-s3-") as made:
        cluster, server = Cluster(Path(made) / "cluster"), S3()
        run.up(cluster, [server], say=lambda _: None)
        place = S3Place(
            endpoint=endpoint(cluster),
            secret_key=cluster.secret("s3"),
            uri=f"s3://{BUCKET}",
            buckets=cluster.of("s3") / "data",
        )
        try:
            yield cluster, server, place
        finally:
            run.stop(cluster, server)


def test_a_store_that_stops_for_half_a_minute_loses_and_doubles_nothing(
    stoppable: tuple[Cluster, S3, S3Place], tmp_path: Path
) -> None:
    cluster, server, place = stoppable
    landed: list[int] = []
    refused: list[int] = []
    stopping = threading.Event()
    with Lake.open(place.settings(tmp_path / "state")) as lake:
        table = events_table(lake)

        def work() -> None:
            number = 0
            while not stopping.is_set():
                try:
                    files = write_batches(table, [events([number])])
                    append(table, files, provenance=Provenance())
                    landed.append(number)
                except StoreUnavailableError:
                    refused.append(number)
                number += 1

        writer = threading.Thread(target=work)
        writer.start()
        assert wait_until(lambda: bool(landed))
        run.stop(cluster, server)
        time.sleep(STOPPED_S)
        run.up(cluster, [server], say=lambda _: None)
        before = len(landed)
        assert wait_until(lambda: len(landed) > before)
        stopping.set()
        writer.join(timeout=300)
        assert not writer.is_alive()
        assert ids_of(table) == landed
        assert not plan_cleanup(table, now=later()).uploads
