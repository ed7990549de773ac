"""What `headrace flink` prints: what runs in a shell and what programs read."""

import contextlib
import json
from collections.abc import Generator
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from typer.testing import CliRunner

from headrace.api import Lake
from headrace.cli import flink
from headrace.cli.main import make_app
from headrace.config import Settings
from headrace.errors import FlinkCannotError, StreamOwnedError
from headrace.flink import handover, jobs, recovery
from headrace.flink.handover import to_flink
from headrace.flink_access import FlinkAccess
from headrace.ingest.owner import FLINK, HEADRACE
from headrace.ingest.sources.holes import AcceptedGap
from tests.flink.contracts import EVERY_TYPE, PLACES, contract
from tests.raising import refused

pytestmark = pytest.mark.slow  # it loads the command line

CONTRACT = {
    "stream": "things",
    "table": "raw.things",
    "source": {"kafka": {"topic": "things"}},
    "format": "json",
    "key": "id",
    "event_time": "at",
    "fields": {
        "id": {"type": "string", "required": True},
        "at": {"type": "timestamptz", "required": True},
    },
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A lake whose servers are named; none of them runs."""
    file = tmp_path / "lake" / "lake.toml"
    (file.parent / "streams").mkdir(parents=True)
    file.write_text('profile = "cluster"\n[profiles.cluster]\nstate_dir = "state"\n')
    (file.parent / "streams" / "things.yaml").write_text(yaml.safe_dump(CONTRACT))
    monkeypatch.setenv("HEADRACE_LAKE", str(file))
    monkeypatch.setenv("HEADRACE_CATALOG_URI", "postgresql://me:word@127.0.0.1:1/lake")
    monkeypatch.setenv("HEADRACE_WAREHOUSE", str(tmp_path / "warehouse"))
    monkeypatch.setenv("HEADRACE_KAFKA_SERVERS", "127.0.0.1:1")
    assert Settings.load().kafka is not None
    return file


def test_a_contract_that_sql_cannot_say_leaves_no_table_behind(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "places_of", lambda *_, **__: PLACES)
    access = FlinkAccess(uri="http://no", gateway_uri="http://no")
    more = {"scores": {"type": "list<double>"}}
    stream = contract(fields=EVERY_TYPE | more)
    job = jobs.StreamJob(lake, stream, access=access)
    with refused(FlinkCannotError, field="scores"):
        to_flink(job)
    with refused(StreamOwnedError, owner=HEADRACE, wanted=FLINK):
        job.submit()
    assert not lake.exists(stream.table)


@pytest.mark.usefixtures("home")
def test_statements_are_printed_once_and_alone_so_that_they_can_be_piped() -> None:
    text, told = (
        CliRunner().invoke(make_app(), ["flink", "submit", "things", "--print", *more])
        for more in ((), ("--output", "json"))
    )
    assert text.stdout.startswith("create catalog ")
    assert text.stdout.rstrip().endswith("end;")
    assert text.stdout.count("create catalog ") == 1
    said = json.loads(told.stdout)
    assert said["sql"].rstrip() == text.stdout.rstrip()
    assert set(said) == {"sql", "plan"}


@pytest.mark.usefixtures("home")
def test_a_store_at_a_wrong_address_is_named_before_anything_waits_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HEADRACE_WAREHOUSE", "s3://lake/warehouse")
    for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(key, "any")
    monkeypatch.setenv("HEADRACE_S3_ENDPOINT", "http://127.0.0.1:2")  # the catalog is at another
    found = CliRunner().invoke(make_app(), ["flink", "submit", "things"])
    assert found.exit_code
    assert "http://127.0.0.1:2/lake" in found.stderr


@pytest.mark.parametrize("said", [["stop"], ["handover", "--to", "headrace"]])
@pytest.mark.usefixtures("home")
def test_lost_records_are_accepted_of_a_stream_alone(
    said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    accepted: list[object] = []

    def take(*_: object, **more: object) -> None:
        accepted.append(more["accepted"])
        raise StreamOwnedError("things", owner=HEADRACE, epoch=0, wanted=FLINK)

    @contextlib.contextmanager
    def named(_: str) -> Generator[SimpleNamespace]:
        yield SimpleNamespace()

    monkeypatch.setattr(recovery, "stop", take)
    monkeypatch.setattr(handover, "to_headrace", take)
    monkeypatch.setattr(flink, "stream_job", named)
    command, *more = said
    for name, status in (("things", 1), ("a.view", 2)):
        words = ["flink", command, name, *more, "--accept-gap", "0:8-10"]
        assert CliRunner().invoke(make_app(), words).exit_code == status
    assert accepted == [(AcceptedGap(0, 8, 10),)]


@pytest.mark.parametrize(
    "said",
    [
        ["things", "--to", "flink"],
        ["a.view", "--to", "headrace"],
        ["things", "--to", "headrace", "--accept-gap", "0:8-10"],
    ],
)
@pytest.mark.usefixtures("home")
def test_only_a_stream_that_goes_to_headrace_goes_without_a_note(said: list[str]) -> None:
    found = CliRunner().invoke(make_app(), ["flink", "handover", *said, "--without-note"])
    assert found.exit_code == 2
    assert (
        f"Invalid value for {'--accept-gap' if '--accept-gap' in said else '--without-note'}"
        in found.stderr
    )
