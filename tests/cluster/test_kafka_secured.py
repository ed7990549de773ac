"""A real broker behind TLS that asks for a password: what a profile says is enough, and refusals have names."""

import contextlib
import subprocess
import time
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import (
    AdminClient,
    NewTopic,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from headrace.api import Lake
from headrace.config import Settings
from headrace.errors import LakeError, TopicAccessError
from headrace.ingest.run import ingest
from infra.launcher import kafka
from infra.launcher.cluster import Cluster
from tests.ingest.kafka_ingesters import stream_of, value

pytestmark = pytest.mark.cluster

TOPIC, USER, PASSWORD, WRONG = "secured", "lake", "right-5e1f", "wrong-77c2"
RECORDS = 50
GOOD = sum(at % 7 > 0 for at in range(RECORDS))


@dataclass(frozen=True)
class Secured:
    """A broker with a listener by TLS and SASL, and the certificate that signs its own."""

    address: str
    ca: Path
    other_ca: Path


def made_certificate(folder: Path, name: str) -> Path:
    """Make a key and a certificate of this host that signs itself."""
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-keyout", f"{folder}/{name}.key", "-out", f"{folder}/{name}.pem"),
            *("-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
    )
    return folder / f"{name}.pem"


def add_secured_listener(cluster: Cluster, *, keys: Path) -> None:
    """Let the broker listen by TLS and SASL too, for one user by either mechanism."""
    plain, secured = kafka.servers(cluster), f"127.0.0.1:{cluster.port('kafka-secured')}"
    controller = cluster.port("kafka-controller")
    login = "org.apache.kafka.common.security"
    said = {
        "listeners": f"PLAINTEXT://{plain},SECURED://{secured},CONTROLLER://127.0.0.1:{controller}",
        "advertised.listeners": f"PLAINTEXT://{plain},SECURED://{secured}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURED:SASL_SSL",
        "listener.name.secured.ssl.keystore.type": "PEM",
        "listener.name.secured.ssl.keystore.location": keys,
        "listener.name.secured.sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-512",
        "listener.name.secured.plain.sasl.jaas.config": (
            f'{login}.plain.PlainLoginModule required user_{USER}="{PASSWORD}";'
        ),
        "listener.name.secured.scram-sha-512.sasl.jaas.config": (
            f"{login}.scram.ScramLoginModule required;"
        ),
    }
    with (cluster.of("kafka") / "server.properties").open("a") as file:
        file.writelines(f"{key}={text}\n" for key, text in said.items())


@contextlib.contextmanager
def running(cluster: Cluster) -> Generator[None]:
    """Run the broker by its configuration as it is now."""
    broker = kafka.Kafka()
    launch = broker.launch(cluster)
    with cluster.log("kafka").open("wb") as log:
        process = subprocess.Popen(
            launch.command, cwd=launch.folder, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        until_s = time.monotonic() + 300
        while True:
            try:
                broker.probe(cluster)
                break
            except KafkaException:
                end = cluster.log("kafka").read_text()[-2_000:]
                assert process.poll() is None, end
                assert time.monotonic() < until_s, end
                time.sleep(0.5)
        yield
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    folder = tmp_path_factory.mktemp("secured")
    cluster = Cluster(folder / "cluster")
    kafka.Kafka().fetch()
    kafka.Kafka().prepare(cluster)
    ca, other = made_certificate(folder, "broker"), made_certificate(folder, "other")
    keys = folder / "broker-both.pem"
    keys.write_text((folder / "broker.key").read_text() + ca.read_text())
    add_secured_listener(cluster, keys=keys)
    with running(cluster):
        admin = AdminClient({"bootstrap.servers": kafka.servers(cluster), "log_level": 0})
        admin.create_topics([NewTopic(TOPIC, num_partitions=1)])[TOPIC].result(30)
        how = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
        wanted = UserScramCredentialUpsertion(USER, how, PASSWORD.encode())
        admin.alter_user_scram_credentials([wanted])[USER].result(30)
        producer = Producer({"bootstrap.servers": kafka.servers(cluster), "log_level": 0})
        for at in range(RECORDS):
            producer.produce(TOPIC, value(0, at))
        assert producer.flush(30) == 0
        yield Secured(f"127.0.0.1:{cluster.port('kafka-secured')}", ca, other)


def settings_of(
    folder: Path, broker: Secured, *, mechanism: str, ca: Path, env: Mapping[str, str]
) -> Settings:
    file = folder / "lake" / "lake.toml"
    file.parent.mkdir(parents=True)
    file.write_text(
        f"""
        profile = "local"
        [profiles.local]
        kafka_servers = "{broker.address}"
        kafka_security = "sasl_ssl"
        kafka_sasl_mechanism = "{mechanism}"
        kafka_ca_file = "{ca}"
        """
    )
    return Settings.load(env={"HEADRACE_KAFKA_USER": USER, **env}, path=file)


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
def test_a_topic_behind_tls_and_a_password_is_ingested_as_the_profile_says(
    broker: Secured, mechanism: str, tmp_path: Path
) -> None:
    secret = tmp_path / "password"
    secret.write_text(PASSWORD + "\n")
    env = {"HEADRACE_KAFKA_PASSWORD_FILE": str(secret)}
    settings = settings_of(tmp_path, broker, mechanism=mechanism, ca=broker.ca, env=env)
    with Lake.open(settings) as lake:
        done = ingest(lake, stream_of(TOPIC))
    assert (done.rows, done.dead_letters) == (GOOD, RECORDS - GOOD)
    assert PASSWORD not in repr(settings)


@pytest.mark.parametrize("fault", ["password", "certificate"])
@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
def test_a_wrong_password_or_certificate_is_named_soon_and_no_secret_is_shown(
    broker: Secured, mechanism: str, fault: str, tmp_path: Path
) -> None:
    password = WRONG if fault == "password" else PASSWORD
    ca = broker.other_ca if fault == "certificate" else broker.ca
    env = {"HEADRACE_KAFKA_PASSWORD": password}
    settings = settings_of(tmp_path, broker, mechanism=mechanism, ca=ca, env=env)
    begun_s = time.monotonic()
    with Lake.open(settings) as lake, pytest.raises(TopicAccessError) as caught:
        ingest(lake, stream_of(TOPIC))
    assert time.monotonic() - begun_s < 60
    assert caught.value.servers == broker.address
    assert password not in shown(caught.value)


def shown(error: LakeError) -> str:
    return f"{error} {error.remedy} {error.state} {vars(error)}"
