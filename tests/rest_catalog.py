"""A small REST catalog over a SQL catalog, for tests of what its clients meet."""

import contextlib
import json
import threading
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pyiceberg.catalog.rest import CreateTableRequest, TableResponse
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import (
    CommitFailedException,
    NoSuchNamespaceError,
    NoSuchTableError,
    TableAlreadyExistsError,
)
from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC
from pyiceberg.table import StagedTable, Table
from pyiceberg.table.sorting import UNSORTED_SORT_ORDER
from pyiceberg.table.update import TableRequirement, TableUpdate

_STATUS = {
    CommitFailedException: 409,
    TableAlreadyExistsError: 409,
    NoSuchTableError: 404,
    NoSuchNamespaceError: 404,
}
_PREFIX = ["v1", "namespaces"]


@dataclass
class RestCatalog:
    """The server; `uri` is its address. The next `lost` commits land and are answered with 502."""

    uri: str = ""
    lost: int = 0
    refused: int = 0  # the next requests of any kind are answered with 403
    commits: list[str] = field(default_factory=list)
    given: dict[str, str] = field(
        default_factory=dict
    )  # to the client, for the files of each table


@contextlib.contextmanager
def rest_catalog(
    folder: Path, *, warehouse: str = "", access: Mapping[str, str] | None = None
) -> Generator[RestCatalog]:
    """Run a REST catalog on a loopback port; tables lie in `folder`, or in a store by its `access`."""
    told = RestCatalog()
    place = warehouse or f"file://{folder}"
    catalog = SqlCatalog("lake", uri=f"sqlite:///{folder}/rest.db", warehouse=place, **access or {})

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def _answer(self, status: int, body: object = None) -> None:
            said = body.model_dump_json(by_alias=True) if isinstance(body, BaseModel) else None
            content = (said if said is not None else json.dumps(body)).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def _serve(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(size) or "{}") if size else {}
            path = [part for part in self.path.partition("?")[0].split("/") if part]
            if told.refused:
                told.refused -= 1
                self._answer(403, _error("ForbiddenException", "not yours", 403))
                return
            try:
                found = _do(catalog, told, self.command, path, body)
            except tuple(_STATUS) as error:
                status = _STATUS[type(error)]
                self._answer(status, _error(type(error).__name__, str(error), status))
                return
            if found is _LOST:
                self._answer(502, _error("BadGateway", "the answer is lost", 502))
            else:
                self._answer(200, found)

        do_GET = do_POST = do_HEAD = do_DELETE = _serve

    with contextlib.closing(catalog), HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        told.uri = f"http://127.0.0.1:{server.server_address[1]}"
        yield told
        server.shutdown()
        thread.join()


_LOST = object()
_ABSENT = {"location": None, "partition-spec": None, "write-order": None}


def _error(kind: str, message: str, code: int) -> dict[str, object]:
    return {"error": {"type": kind, "message": message, "code": code}}


def _do(catalog: SqlCatalog, told: RestCatalog, verb: str, path: list[str], body: Any) -> Any:  # noqa: ANN401 - JSON
    match verb, path[len(_PREFIX) :] if path[:2] == _PREFIX else path:
        case "GET", ["v1", "config"]:
            return {"defaults": {}, "overrides": {}}
        case "GET", []:
            return {"namespaces": [list(each) for each in catalog.list_namespaces()]}
        case "POST", []:
            catalog.create_namespace(tuple(body["namespace"]), body.get("properties", {}))
            return {"namespace": body["namespace"], "properties": {}}
        case (("GET" | "HEAD"), [namespace]):
            return {
                "namespace": [namespace],
                "properties": catalog.load_namespace_properties(namespace),
            }
        case "GET", [namespace, "tables"]:
            listed = catalog.list_tables(namespace)
            return {"identifiers": [{"namespace": [space], "name": name} for space, name in listed]}
        case "POST", [namespace, "tables"]:
            asked = CreateTableRequest.model_validate(_ABSENT | body)
            return _created(catalog, told, namespace, asked)
        case (("GET" | "HEAD"), [namespace, "tables", name]):
            return _table(catalog.load_table((namespace, name)), told)
        case "POST", [namespace, "tables", name]:
            return _committed(catalog, told, (namespace, name), body)
        case _:
            msg = f"{verb} {'/'.join(path)}"
            raise NoSuchTableError(msg)


def _created(
    catalog: SqlCatalog, told: RestCatalog, namespace: str, asked: CreateTableRequest
) -> TableResponse:
    transaction = catalog.create_table_transaction(
        (namespace, asked.name),
        asked.table_schema,
        asked.location,
        asked.partition_spec or UNPARTITIONED_PARTITION_SPEC,
        asked.write_order or UNSORTED_SORT_ORDER,
        asked.properties,
    )
    if not asked.stage_create:
        return _table(transaction.commit_transaction(), told)
    staged = transaction.table_metadata
    said = {"metadata-location": None, "metadata": staged, "config": told.given}
    return TableResponse.model_validate(said)


def _committed(catalog: SqlCatalog, told: RestCatalog, name: tuple[str, str], body: Any) -> Any:  # noqa: ANN401 - JSON
    requirements = TypeAdapter(tuple[TableRequirement, ...]).validate_python(body["requirements"])
    updates = TypeAdapter(tuple[TableUpdate, ...]).validate_python(body["updates"])
    table: Any = SimpleNamespace(name=lambda: name)
    done = catalog.commit_table(table, requirements, updates)
    told.commits.append(".".join(name))
    if told.lost:
        told.lost -= 1
        return _LOST
    return done


def _table(table: Table | StagedTable, told: RestCatalog) -> TableResponse:
    said = {"metadata-location": table.metadata_location, "metadata": table.metadata}
    return TableResponse.model_validate({**said, "config": told.given})
