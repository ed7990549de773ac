"""What commands say of the brokers that a profile names: their files, and that they do not answer."""

import json
import socket
import time
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from headrace.cli.main import make_app
from headrace.ingest.sources.kafka_client import ANSWER_S_MAX
from tests.mock_kafka import MockKafka

pytestmark = pytest.mark.slow

STREAM = """\
stream: {name}
table: raw.{name}
source: {source}
format: json
event_time: at
fields:
  at: {{type: timestamptz, required: true}}
"""
VALUE = b'{"at": "2026-03-01T10:00:00Z"}'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "lake" / "streams").mkdir(parents=True)
    monkeypatch.setenv("HEADRACE_LAKE", str(tmp_path / "lake" / "lake.toml"))
    for name in ("USER", "PASSWORD", "KEY_PASSWORD", "SERVERS"):
        monkeypatch.delenv(f"HEADRACE_KAFKA_{name}", raising=False)
    profile(tmp_path)
    return tmp_path


def profile(folder: Path, **settings: str) -> None:
    lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
    text = "\n".join(['profile = "p"', "[profiles.p]", *lines])
    (folder / "lake" / "lake.toml").write_text(text + "\n")


def declare(folder: Path, name: str, source: str) -> None:
    text = STREAM.format(name=name, source=source)
    (folder / "lake" / "streams" / f"{name}.yaml").write_text(text)


def headrace(*arguments: str) -> Result:
    return CliRunner().invoke(make_app(), list(arguments))


def problems() -> list[str]:
    done = headrace("check", "--output", "json")
    found = json.loads(done.stdout)["problems"]
    assert done.exit_code == (1 if found else 0)
    assert {each["file"] for each in found} <= {"lake/lake.toml"}
    return [each["message"] for each in found]


def test_check_finds_files_that_are_absent_and_half_of_a_pair(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ca.pem", "me.pem", "me.key"):
        (folder / name).write_text("a certificate or a key")
    servers = {"kafka_servers": "broker:9093", "kafka_security": "ssl"}
    whole = {
        "kafka_ca_file": "ca.pem", "kafka_certificate_file": "me.pem", "kafka_key_file": "me.key",
    }  # fmt: skip
    profile(folder, **servers, **whole)
    assert problems() == []
    (folder / "ca.pem").unlink()
    (absent,) = problems()
    assert absent == f"profile `p`: `kafka_ca_file` names `{folder}/ca.pem`, which cannot be read"
    profile(folder, **servers, kafka_certificate_file="me.pem")
    assert problems() == [
        "profile `p`: `kafka_certificate_file` is set without `kafka_key_file`; set both, or neither"
    ]
    monkeypatch.setenv("HEADRACE_KAFKA_KEY_PASSWORD", "s")
    profile(folder, **servers)
    assert problems() == [
        "profile `p`: HEADRACE_KAFKA_KEY_PASSWORD is set without `kafka_key_file`"
    ]


def test_check_finds_files_and_users_that_the_protocol_does_not_use(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "ca.pem").write_text("a certificate")
    monkeypatch.setenv("HEADRACE_KAFKA_USER", "lake")
    profile(folder, kafka_servers="broker:9092", kafka_ca_file="ca.pem")
    (unused,) = problems()
    assert unused == (
        "profile `p`: `kafka_security` is `plaintext`, which does not use `kafka_ca_file`, "
        "HEADRACE_KAFKA_USER"
    )


def test_status_without_brokers_is_what_the_tables_say_within_seconds(folder: Path) -> None:
    declare(folder, "clicks", "{kafka: {topic: clicks}}")
    declare(folder, "others", '{files: "others/*.jsonl"}')
    with MockKafka() as cluster:
        cluster.create("clicks")
        cluster.produce("clicks", [VALUE] * 3)
        profile(folder, kafka_servers=cluster.servers)
        assert headrace("ingest", "run", "clicks").exit_code == 0
    with socket.socket() as silent:  # takes connections, and never answers
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        profile(folder, kafka_servers=f"127.0.0.1:{silent.getsockname()[1]}")
        begun_s = time.monotonic()
        done = headrace("ingest", "status", "--output", "json")
        assert time.monotonic() - begun_s < ANSWER_S_MAX  # of any other command
    assert done.exit_code == 0, done.output
    clicks, others = json.loads(done.stdout)
    assert (clicks["rows"], clicks["waiting"], others["waiting"]) == (3, None, 0)
    assert clicks["unreachable"].startswith("topic `clicks` cannot be reached at `127.0.0.1:")
    assert others["unreachable"] is None


def test_status_names_a_topic_that_lost_records_and_shows_every_stream(folder: Path) -> None:
    declare(folder, "clicks", "{kafka: {topic: clicks}}")
    declare(folder, "others", "{kafka: {topic: others}}")
    with MockKafka() as cluster:
        profile(folder, kafka_servers=cluster.servers)
        for topic in ("clicks", "others"):
            cluster.create(topic)
            cluster.produce(topic, [VALUE] * 3)
        assert headrace("ingest", "run").exit_code == 0
        for topic in ("clicks", "others"):
            cluster.produce(topic, [VALUE] * 3)
        cluster.delete_records("clicks", 0, 5)
        done = headrace("ingest", "status", "--output", "json")
    assert done.exit_code == 1
    said = json.loads(done.stderr)
    wanted = ["headrace", "ingest", "run", "clicks", "--accept-gap", "0:3-5"]
    assert (said["code"], said["remedy"]["command"]) == ("offset-gap", wanted)
    clicks, others = json.loads(done.stdout)
    assert (clicks["rows"], clicks["waiting"]) == (3, None)
    assert "offsets 3 to 4 were deleted" in clicks["error"]
    assert (others["rows"], others["waiting"], others["error"]) == (3, 1, None)
