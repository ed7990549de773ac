"""A dataset version is verified by a role that may only read, which leaves no trace."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.api import Lake
from headrace.config import Settings
from headrace.datasets.publish import publish
from headrace.datasets.verify import verified_at, verify
from headrace.errors import DatabaseDeniedError, DatasetChangedError
from infra.launcher import s3
from tests.cluster.servers import Servers
from tests.conftest import ROOT
from tests.datasets.conftest import SAMPLE_SET, river_in, with_three_days


def of_role(servers: Servers, role: str, folder: Path) -> Settings:
    env = {**servers.environment(role), "HEADRACE_STATE_DIR": str(folder / role)}
    return Settings.load(env=env, path=ROOT / "lake" / "lake.toml")


@pytest.fixture
def published(servers: Servers, tmp_path: Path) -> Iterator[Lake]:
    servers.clear()
    with Lake.open(of_role(servers, "operator", tmp_path)) as lake:
        publish(with_three_days(river_in(lake)).lake, SAMPLE_SET)
        yield lake
    servers.clear()


@pytest.mark.parametrize("role", ["trainer", "page"])
def test_a_reader_verifies_a_version_and_records_nothing(
    servers: Servers, published: Lake, role: str, tmp_path: Path
) -> None:
    with Lake.existing(of_role(servers, role, tmp_path)) as lake:
        found = verify(lake, "ctr")
        assert (found.rows, found.lock.version) == (9, 1)
        assert verified_at(lake.registry.measures_of_all(), "ctr", 1) is None
        with pytest.raises(DatabaseDeniedError):
            lake.registry.record_measure("ctr", "verified", 9, measured_at_ms=0)
        assert verify(published, "ctr").rows == 9
        assert verified_at(lake.registry.measures_of_all(), "ctr", 1) is not None


def test_a_reader_is_told_what_was_changed(
    servers: Servers, published: Lake, tmp_path: Path
) -> None:
    (first, *_) = published.table("samples.ctr").head().files()
    path = first.path.removeprefix("s3://")
    store = s3.filesystem(servers.cluster)
    with store.open_input_file(path) as opened:
        content = bytearray(opened.read())
    content[len(content) // 2] ^= 1
    with store.open_output_stream(path) as output:
        output.write(bytes(content))
    with Lake.existing(of_role(servers, "trainer", tmp_path)) as lake:
        with pytest.raises(DatasetChangedError) as caught:
            verify(lake, "ctr")
        assert first.path in str(caught.value)
