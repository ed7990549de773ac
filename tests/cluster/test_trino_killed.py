"""Trino killed in the middle of a build: it says so, and a second build leaves what one without a kill does."""

import threading
import time
from collections.abc import Generator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from headrace.api import Lake
from headrace.config import Settings
from headrace.datasets.publish import publish
from headrace.definitions.load import load_sample_sets, load_streams
from headrace.engines.trino_client import Page, TrinoClient
from headrace.errors import EngineUnavailableError, FeatureBuildError
from headrace.ingest.run import ingest
from headrace.integrations.dbt_build import build_features
from headrace.samples.audit import duplicate_ids, leaks
from headrace.samples.build import build
from tests.cluster.servers import Servers
from tests.cluster.trino_lakes import on_servers, shared_lake
from tests.samples.test_truth import simulated

__all__ = ["simulated"]

WAIT_S = 300
SOON_S = 0.1  # a statement that writes takes several times as long
FIRST, LAST = "staging.clicks", "features.item_ctr"


def taken(lake: Lake) -> None:
    for stream in load_streams(lake.settings).values():
        ingest(lake, stream)


def content(lake: Lake) -> tuple[str, int]:
    """Build what is not built, publish it, and say its hash and rows."""
    watch = load_sample_sets(lake.settings)["watch"]
    build(lake, watch)
    lock = publish(lake, watch, allow_pending=True).lock
    return lock.content_hash, lock.rows


def kill_after_first_model(servers: Servers, settings: Settings) -> None:
    deadline = time.monotonic() + WAIT_S
    with Lake.open(settings) as lake:
        while not (lake.exists(FIRST) and lake.table(FIRST).head().snapshot_id):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    servers.kill("trino")


def kill_in_the_next_insert(
    servers: Servers, patch: pytest.MonkeyPatch, killers: list[threading.Timer]
) -> None:
    """Let Trino end once, soon after it has taken a statement that writes, however fast it is."""
    pages = TrinoClient.pages

    def and_kill(
        self: TrinoClient, sql: str, *, session: Mapping[str, str] | None = None
    ) -> Generator[Page]:
        for number, page in enumerate(pages(self, sql, session=session)):
            if number == 0 and sql.startswith("insert") and not killers:
                killers.append(threading.Timer(SOON_S, servers.kill, ["trino"]))
                killers[0].start()
            yield page

    patch.setattr(TrinoClient, "pages", and_kill)


@pytest.mark.timeout(1_800)  # it starts Trino twice
def test_builds_that_trino_did_not_live_to_finish_are_finished_by_the_next(
    servers: Servers, simulated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    declared = Settings.load(env={}, path=simulated / "lake" / "lake.toml")
    with Lake.open(replace(declared, state_dir=tmp_path / "local")) as local:
        taken(local)
        build_features(local.settings)
        expected = content(local)

    settings = on_servers(servers, replace(declared, state_dir=tmp_path / "state"), catalog="lake")
    with shared_lake(settings) as lake:
        taken(lake)
        killer = threading.Thread(target=kill_after_first_model, args=(servers, settings))
        killer.start()
        with pytest.raises(FeatureBuildError) as of_models:
            build_features(settings)
        killer.join()
        assert "Trino at https://" in str(of_models.value)
        assert not lake.exists(LAST)
        servers.start("trino")
        assert build_features(settings).changed
        assert not build_features(settings).changed

        watch, killers = load_sample_sets(settings)["watch"], list[threading.Timer]()
        with (
            monkeypatch.context() as patch,
            pytest.raises(EngineUnavailableError) as of_samples,
        ):
            build(lake, watch, progress=lambda _: kill_in_the_next_insert(servers, patch, killers))
        assert of_samples.value.query_id
        samples = lake.table(watch.table)
        landed = len(lake.registry.commits(str(samples.name)))
        assert landed >= 1  # more where the insert ended before Trino did
        while servers.cluster.pid("trino") is not None:
            time.sleep(0.1)
        servers.start("trino")
        assert content(lake) == expected
        assert duplicate_ids(samples.head(), settings=settings).count == 0
        assert leaks(samples.head(), settings=settings).count == 0
        assert landed < len(samples.head().partitions)
        assert len(lake.registry.commits(str(samples.name))) == len(samples.head().partitions)
