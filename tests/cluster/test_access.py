"""Each role of the cluster profile can do its work, and is refused what is not its work, on every server."""

import contextlib
import urllib.error
import uuid
from collections.abc import Iterator
from functools import partial
from http import HTTPStatus

import pyarrow as pa
import pytest
import requests
import sqlalchemy as sa
from pyarrow.fs import S3FileSystem
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import NamespaceAlreadyExistsError
from pyiceberg.table import Table
from trino.exceptions import TrinoUserError

from headrace.identifiers import STAGING_NAMESPACE
from infra.launcher import s3, trino
from infra.roles import ROLES
from infra.s3.requests import Key, request
from infra.trino.catalog import WAREHOUSE
from tests.cluster.servers import Servers

ROWS = pa.table({"id": pa.array(range(100), pa.int64())})
READERS = ("ingest", "trainer", "page")
READ = "lake_read"
# whose files each role may write and delete; `docs/production.md` has the same table
OWN = {
    "ingest": {"raw", "dead_letters"},
    "transform": {"staging", "features", "samples", STAGING_NAMESPACE},
    "trainer": set[str](),
    "page": set[str](),
    "operator": {
        *("raw", "dead_letters", "staging", "features", "samples", ".datasets"),
        STAGING_NAMESPACE,
    },
}
# what writes, of which rules alone would not keep a reader from the last three
CHANGES = (
    "insert into {} values 1",
    "delete from {}",
    "drop table {}",
    "alter table {} execute optimize",
    "alter table {} execute expire_snapshots(retention_threshold => '30d')",
    "alter table {} execute remove_orphan_files(retention_threshold => '30d')",
)


@pytest.fixture
def raw(catalog: SqlCatalog) -> Iterator[Table]:
    """A table of the operator in the namespace of raw tables, which `ingest` may write."""
    with contextlib.suppress(NamespaceAlreadyExistsError):
        catalog.create_namespace("raw")
    table = catalog.create_table(f"raw.test_{uuid.uuid4().hex[:12]}", ROWS.schema)
    table.append(ROWS)
    yield table
    catalog.purge_table(table.name())


@pytest.mark.parametrize("role", ROLES)
def test_every_role_reads_in_trino(servers: Servers, raw: Table, role: str) -> None:
    name = ".".join(raw.name())
    found = servers.query(f"select count(*) from {name}", role=role, catalog=READ)
    assert found == [[ROWS.num_rows]]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("role", READERS)
def test_a_reader_changes_nothing_in_trino(
    servers: Servers, raw: Table, role: str, change: str
) -> None:
    name = ".".join(raw.name())
    for catalog in (READ, "lake"):
        with pytest.raises(TrinoUserError) as caught:
            servers.query(change.format(f"{catalog}.{name}"), role=role, catalog=catalog)
        assert caught.value.error_name in {"PERMISSION_DENIED", "NOT_SUPPORTED"}, catalog
    assert raw.refresh().current_snapshot() == raw.current_snapshot()
    assert raw.scan().to_arrow().num_rows == ROWS.num_rows


@pytest.mark.parametrize("change", CHANGES[:3])
def test_transform_changes_no_table_of_the_lake_in_trino(
    servers: Servers, raw: Table, change: str
) -> None:
    with pytest.raises(TrinoUserError) as caught:
        servers.query(change.format(".".join(raw.name())), role="transform")
    assert caught.value.error_name == "PERMISSION_DENIED"


@pytest.mark.parametrize("role", ["transform", "operator"])
def test_no_role_drops_a_stage_clone_whose_files_a_table_may_have_adopted(
    servers: Servers, catalog: SqlCatalog, role: str
) -> None:
    with contextlib.suppress(NamespaceAlreadyExistsError):
        catalog.create_namespace(STAGING_NAMESPACE)
    clone = catalog.create_table(f"{STAGING_NAMESPACE}.test_{uuid.uuid4().hex[:12]}", ROWS.schema)
    name = ".".join(clone.name())
    servers.query(f"insert into {name} values 1, 2", role=role)
    for denied in (
        f"drop table {name}",
        f"delete from {name}",
        f"truncate table {name}",
        f"alter table {name} rename to {name}_away",
        f"drop schema {STAGING_NAMESPACE} cascade",
    ):
        with pytest.raises(TrinoUserError) as caught:
            servers.query(denied, role=role)
        assert caught.value.error_name == "PERMISSION_DENIED", denied
    clone.refresh()
    assert clone.scan().to_arrow().num_rows == 2
    catalog.purge_table(clone.name())


def test_only_the_operator_shortens_how_long_snapshots_and_orphans_are_kept(
    servers: Servers,
) -> None:
    for name in ("expire_snapshots_min_retention", "remove_orphan_files_min_retention"):
        setting = f"set session lake.{name} = '1s'"
        with pytest.raises(TrinoUserError) as caught:
            servers.query(setting, role="transform")
        assert caught.value.error_name == "PERMISSION_DENIED"
        servers.query(setting, role="operator")


@pytest.mark.parametrize(
    ("scheme", "port", "user", "password", "status"),
    [
        ("https", "trino", "page", "trino-page", 200),
        ("https", "trino", "page", "trino-operator", 401),
        ("https", "trino", "nobody", "trino-page", 401),
        ("https", "trino", "operator", "trino-page", 401),
        ("http", "trino-internal", "page", "trino-page", 403),
    ],
)
def test_trino_answers_only_over_tls_to_a_user_with_the_right_password(
    servers: Servers, scheme: str, port: str, user: str, password: str, status: int
) -> None:
    cluster = servers.cluster
    with requests.Session() as session:
        session.trust_env = False
        session.verify = str(trino.certificate(cluster))
        answer = session.post(
            f"{scheme}://127.0.0.1:{cluster.port(port)}/v1/statement",
            "select 1",
            auth=(user, cluster.secret(password)),
            timeout=20,
        )
    assert answer.status_code == status


def test_no_user_of_trino_works_in_the_name_of_another(servers: Servers) -> None:
    with requests.Session() as session:
        session.trust_env = False
        session.verify = str(trino.certificate(servers.cluster))
        session.auth = ("page", servers.cluster.secret("trino-page"))
        address = f"{trino.Trino().address(servers.cluster)}/v1/statement"
        headers = {"X-Trino-User": "operator"}
        answer = session.post(address, "select 1", headers=headers, timeout=20).json()
        while "nextUri" in answer:
            answer = session.get(answer["nextUri"], timeout=20).json()
    assert answer["error"]["errorName"] == "PERMISSION_DENIED"


@pytest.mark.parametrize("role", READERS[1:])
def test_a_reader_reads_by_pyiceberg_and_its_append_is_refused_with_nothing_changed(
    servers: Servers, raw: Table, role: str
) -> None:
    with contextlib.closing(servers.catalog(role)) as catalog:
        table = catalog.load_table(raw.name())
        assert table.scan().to_arrow() == raw.scan().to_arrow()
        with pytest.raises(OSError, match="ACCESS_DENIED|AccessDenied"):
            table.append(ROWS)
    assert raw.refresh().current_snapshot() == raw.current_snapshot()


def test_a_role_that_only_reads_the_database_lands_no_commit_though_its_key_may_write(
    servers: Servers, raw: Table
) -> None:
    properties = servers.s3_properties("operator")
    catalog = SqlCatalog("lake", uri=servers.catalog_uri("page"), warehouse=WAREHOUSE, **properties)
    with contextlib.closing(catalog):
        table = catalog.load_table(raw.name())
        with pytest.raises(sa.exc.ProgrammingError, match="permission denied"):
            table.append(ROWS)
    assert raw.refresh().scan().to_arrow().num_rows == ROWS.num_rows


def test_ingest_appends_to_raw_tables_and_writes_no_others(
    servers: Servers, raw: Table, namespace: str, catalog: SqlCatalog
) -> None:
    other = catalog.create_table(f"{namespace}.features", ROWS.schema)
    with contextlib.closing(servers.catalog("ingest")) as opened:
        opened.load_table(raw.name()).append(ROWS)
        with pytest.raises(OSError, match="ACCESS_DENIED|AccessDenied"):
            opened.load_table(other.name()).append(ROWS)
    assert raw.refresh().scan().to_arrow().num_rows == 2 * ROWS.num_rows


def test_only_the_operator_makes_and_drops_tables_of_the_database(servers: Servers) -> None:
    name = f"test_{uuid.uuid4().hex[:12]}"
    for role in (each for each in ROLES if each != "operator"):
        with pytest.raises(sa.exc.ProgrammingError, match="permission denied"):
            execute(servers, role, f"create table {name} (a int)")
        with pytest.raises(sa.exc.ProgrammingError, match="must be owner"):
            execute(servers, role, "drop table iceberg_tables")
    execute(servers, "operator", f"create table {name} (a int)")
    execute(servers, "operator", f"drop table {name}")


def execute(servers: Servers, role: str, sql: str) -> None:
    engine = sa.create_engine(servers.catalog_uri(role), poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.execute(sa.text(sql))


@pytest.mark.parametrize("role", ROLES)
def test_a_role_writes_and_deletes_objects_of_its_own_namespaces_only(
    servers: Servers, role: str
) -> None:
    owner, its = s3.key(servers.cluster), s3.key(servers.cluster, role=role)
    for namespace in sorted(set[str]().union(*OWN.values())):
        path = f"{WAREHOUSE.removeprefix('s3://')}/{namespace}/{uuid.uuid4().hex}"
        asked = partial(ask_store, servers, path=path)
        asked(owner, "PUT", body=b"first")
        assert asked(its, "GET") == b"first"
        may = namespace in OWN[role]
        for method, left in (("PUT", b"second"), ("DELETE", b"")):
            try:
                asked(its, method, body=left)
            except urllib.error.HTTPError as error:
                assert (error.code, may) == (403, False), (namespace, method)
            else:
                assert may, (namespace, method)
        if not may:
            assert asked(owner, "GET") == b"first"
            asked(owner, "DELETE")
        with pytest.raises(urllib.error.HTTPError) as caught:
            asked(owner, "GET")
        assert caught.value.code == HTTPStatus.NOT_FOUND


def ask_store(servers: Servers, key: Key, method: str, *, path: str, body: bytes = b"") -> bytes:
    url = f"{s3.endpoint(servers.cluster)}/{path}"
    try:
        return request(url, key, method=method, query={}, body=body, region=s3.REGION)
    except urllib.error.HTTPError as error:
        error.close()  # it holds the connection
        raise


def test_a_key_that_is_not_there_or_wrong_reads_nothing(servers: Servers) -> None:
    scheme, _, host = s3.endpoint(servers.cluster).partition("://")
    for access, secret in (("nobody", "nothing"), ("page", "nothing")):
        store = S3FileSystem(
            access_key=access,
            secret_key=secret,
            endpoint_override=host,
            scheme=scheme,
            region=s3.REGION,
        )
        with pytest.raises(OSError):
            store.get_file_info("lake/warehouse/raw")
