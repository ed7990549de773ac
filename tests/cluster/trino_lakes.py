"""Lakes whose catalog Trino shares: on PostgreSQL, with files on S3 or, for tests that damage them, here."""

import contextlib
import json
import uuid
from collections.abc import Generator
from dataclasses import replace

import pytest
from typing_extensions import override

from headrace.api import Lake
from headrace.config import Settings
from headrace.engines.trino import TrinoEngine
from headrace.identifiers import STAGING_NAMESPACE
from headrace.servers import S3Access, TrinoAccess, secret
from infra.launcher import run, s3, trino
from infra.launcher.cluster import INFRA, Cluster
from infra.trino.catalog import NAME, WAREHOUSE
from tests.cluster.servers import Servers

FILES = "files"  # Trino's catalog over the same database, which reads files of this host


def on_servers(servers: Servers, settings: Settings, *, catalog: str = FILES) -> Settings:
    """Settings of the same lake with its catalog on PostgreSQL and Trino as its engine.

    The registry stays a file: one on a server belongs to one warehouse.
    """
    user, password = trino.login(servers.cluster, role="operator")
    found = replace(
        settings,
        catalog_server=secret(servers.catalog_uri()),
        engine="trino",
        trino=TrinoAccess(
            uri=servers.trino_address,
            user=user,
            password=secret(password),
            catalog=catalog,
            ca_file=str(trino.certificate(servers.cluster)),
        ),
    )
    if catalog == FILES:
        return found
    key = s3.key(servers.cluster, role="operator")
    access = S3Access(
        endpoint=s3.endpoint(servers.cluster),
        region=s3.REGION,
        access_key=secret(key.access),
        secret_key=secret(key.secret),
    )
    return replace(found, s3=access, declared_warehouse=f"{WAREHOUSE}/{uuid.uuid4().hex}")


@contextlib.contextmanager
def shared_lake(settings: Settings) -> Generator[Lake]:
    """Open an empty lake in the catalog that Trino reads; what it holds is dropped afterwards."""
    with Lake.open(settings) as lake:
        try:
            yield lake
        finally:
            for namespace in lake.catalog.list_namespaces():
                for table in lake.catalog.list_tables(namespace):
                    lake.catalog.drop_table(table)
                lake.catalog.drop_namespace(namespace)


def engine_of(settings: Settings, *, address: str = "") -> TrinoEngine:
    """Open an engine, which may reach Trino at another address than its own."""
    assert settings.trino is not None
    return TrinoEngine.open(settings, replace(settings.trino, uri=address or settings.trino.uri))


class _TrinoOfFiles(trino.Trino):
    """A Trino with a second catalog, to which the rules of the first catalog's tables apply.

    It compiles code once, quickly: on small tables the compiler that makes it fast costs more than
    all queries.
    """

    @override
    def prepare(self, cluster: Cluster) -> None:
        super().prepare(cluster)
        etc = cluster.of(self.name) / "etc"
        with (etc / "jvm.config").open("a") as file:
            file.write("-XX:TieredStopAtLevel=1\n")
        lines = (INFRA / "trino" / "catalog" / f"{NAME}.properties").read_text().splitlines()
        kept = [line for line in lines if not line.startswith(("s3.", "fs."))]
        content = [*kept, "fs.native-local.enabled=true", "local.location=/", ""]
        (etc / "catalog" / f"{FILES}.properties").write_text("\n".join(content))
        rules = json.loads((etc / "rules.json").read_text())
        for kind, each in rules.items():
            # without those of clones: the engine's own guard holds where an owner may drop them
            mine = (rule for rule in each if rule.get("catalog") == NAME)
            more = [r | {"catalog": FILES} for r in mine if r.get("schema") != STAGING_NAMESPACE]
            rules[kind] = [*more, *each]
        (etc / "rules.json").write_text(json.dumps(rules))


@contextlib.contextmanager
def reading_files() -> Generator[None]:
    """Let the launcher start a Trino that reads files of this host too."""
    servers = [_TrinoOfFiles() if each.name == "trino" else each for each in run.SERVERS]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "SERVERS", tuple(servers))
        yield
