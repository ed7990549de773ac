"""Every type of a contract in every room: it travels, or the first room that cannot hold it refuses it by name."""

import datetime as dt
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from pydantic import ValidationError

from headrace.api import Lake
from headrace.config import Settings
from headrace.datasets.canonical import kind_of
from headrace.definitions.stream import FILE_FORMATS, Stream
from headrace.definitions.types import FieldType
from headrace.engines.open import open_engine
from headrace.errors import (
    ContentTypeError,
    FeatureSpecError,
    NotAMatrixError,
    UnservableColumnError,
)
from headrace.loading import FeatureSpec, SampleLoader
from headrace.loading.batch import RaggedTensor
from headrace.serving.keys import refuse_unservable
from headrace.serving.publish import publish_view
from headrace.serving.sqlite import SQLiteOnlineStore
from headrace.serving.store import ViewState
from tests.conftest import ROOT
from tests.raising import refused

PAGE = ROOT / "docs" / "types.md"
AT, SHOWN_AT = (dt.datetime(2026, 1, day, tzinfo=dt.UTC) for day in (5, 6))
VALUES: Mapping[str, object] = {
    "string": "x",
    "boolean": True,
    "int": 7,
    "long": 2**60,
    "float": 0.5,
    "double": 0.1,
    "decimal(p,s)": Decimal("1.50"),
    "date": dt.date(2026, 1, 1),
    "time": dt.time(1, 2, 3, 4),
    "timestamptz": AT,
    "binary": b"\x00\xff",
    "list<type>": [0.5, 0.25],
    "list<list<type>>": [[1], [], [2, 3]],
    "map<string, type>": [("a", 1)],
    "struct<name: type, ...>": {"a": 1},
}
DECLARED = {
    "decimal(p,s)": "decimal(10,2)",
    "list<type>": "list<float>",
    "list<list<type>>": "list<list<long>>",
    "map<string, type>": "map<string, long>",
    "struct<name: type, ...>": "struct<a: long>",
}


class Said(NamedTuple):
    """A row of the page's table."""

    formats: str
    table: str
    version: str
    loader: str
    online: str


def said() -> dict[str, Said]:
    page = PAGE.read_text().partition("## Columns of another type")[0]
    rows = re.findall(r"^\| `(.+?)` \| (.+) \|$", page, re.MULTILINE)
    return {name: Said(*cells.split(" | ")) for name, cells in rows}


def column(name: str) -> str:
    return "c_" + re.sub(r"[^a-z]+", "_", name).strip("_")


def kind(name: str) -> FieldType:
    return FieldType.parse(DECLARED.get(name, name))


def view_of(name: str) -> str:
    told = said()[name]
    return "most" if (told.version, told.online) == ("yes", "yes") else "rest"


def contract(name: str, fields: Mapping[str, Any], **changes: object) -> dict[str, Any]:
    times = {"at": {"type": "timestamptz", "required": True}}
    return {
        "stream": name,
        "table": f"raw.{name}",
        "source": {"files": f"{name}/*", "complete_files": True},
        "format": "parquet",
        "event_time": "at",
        "known_at": {"after_event": "0s"},
        "fields": {"item_id": {"type": "long", "required": True}} | dict(fields) | times,
        **changes,
    }


def sample_set(name: str, view: str, columns: Sequence[str]) -> dict[str, Any]:
    return {
        "samples": name,
        "table": f"samples.{name}",
        "exposures": {"table": "raw.shown", "id": "shown_id", "entities": ["item_id"]},
        "features": [{"view": f"raw.{view}", "columns": list(columns)}],
        "labels": [{"name": "click", "stream": "raw.shown", "window": "30m"}],
    }


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    """A lake with one view of the types that no room refuses, one of the others, and samples of each."""
    tmp_path = tmp_path_factory.mktemp("types")
    declared = tmp_path / "lake"
    for folder in ("streams", "samples"):
        (declared / folder).mkdir(parents=True)
    (declared / "lake.toml").write_text("[profiles.local]\n")
    views: dict[str, list[str]] = {}
    for name in VALUES:
        views.setdefault(view_of(name), []).append(name)
    for view, names in views.items():
        fields = {column(name): {"type": kind(name).text} for name in names}
        table = {"item_id": pa.array([1, 2]), "at": pa.array([AT, AT])}
        for name in names:
            table[column(name)] = pa.array([VALUES[name], None], kind(name).arrow)
        (tmp_path / "data" / view).mkdir(parents=True)
        pq.write_table(pa.table(table), tmp_path / "data" / view / "a.parquet")
        stream = contract(view, fields, feature_view={"entity": ["item_id"]})
        (declared / "streams" / f"{view}.yaml").write_text(json.dumps(stream))
        (declared / "samples" / f"of_{view}.yaml").write_text(
            json.dumps(sample_set(f"of_{view}", view, [column(name) for name in names]))
        )
    shown = pa.table({"item_id": [1, 2], "shown_id": ["s1", "s2"], "at": [SHOWN_AT] * 2})
    (tmp_path / "data" / "shown").mkdir()
    pq.write_table(shown, tmp_path / "data" / "shown" / "a.parquet")
    stream = contract("shown", {"shown_id": {"type": "string", "required": True}})
    (declared / "streams" / "shown.yaml").write_text(json.dumps(stream))
    env = {f"HEADRACE_{each}_DIR".upper(): str(tmp_path / each) for each in ("state", "data")}
    settings = Settings.load(env=env, path=declared / "lake.toml")
    with Lake.open(settings) as opened:
        for name in (*views, "shown"):
            assert opened.ingest(name).rows == 2
        for view in views:
            opened.build(f"of_{view}")
        opened.publish("of_most", allow_pending=True)
        yield opened


@pytest.mark.parametrize("name", VALUES)
def test_the_formats_that_hold_a_type_are_those_of_the_page(name: str) -> None:
    holding: list[str] = []
    for format_ in (*FILE_FORMATS, "avro", "protobuf"):
        source: dict[str, Any] = {"files": "x/*"}
        if format_ not in FILE_FORMATS:
            source = {"kafka": {"topic": "x", "schema_file": "x", "message": "x"}}
        changes = {"format": format_, "source": source}
        try:
            Stream.model_validate(contract("x", {"v": {"type": kind(name).text}}, **changes))
        except ValidationError as error:
            assert "`v`" in str(error)
        else:
            holding.append(format_)
    assert said()[name].formats == ("all" if len(holding) == 5 else ", ".join(holding))


def roles(lake: Lake, table: str, name: str) -> str:
    """The roles of the loader that take a column."""
    schema = lake.table(table).head().schema
    found = []
    for role in ("dense", "sparse", "sequence"):
        try:
            FeatureSpec(**{role: [column(name)]}).check(schema, source=table)
        except FeatureSpecError as error:
            assert error.column == column(name)
        else:
            found.append(role)
    return ", ".join(found) or "refused"


@pytest.mark.parametrize("name", VALUES)
def test_each_type_travels_as_far_as_the_page_says_and_is_refused_there_by_name(
    lake: Lake, name: str
) -> None:
    told, view, values = said()[name], view_of(name), [VALUES[name], None]
    head = lake.table(f"raw.{view}").head()
    assert head.to_arrow().sort_by("item_id")[column(name)].to_pylist() == values
    with open_engine(lake.settings) as engine:
        engine.bind(view, head)
        rows = engine.query(f"select {column(name)} from {view} order by item_id").read_all()
    assert rows.column(0).to_pylist() == values
    samples = lake.read(f"samples.of_{view}").arrow.sort_by("sample_id")
    assert samples[column(name)].to_pylist() == values
    assert told.table == "yes"
    assert roles(lake, f"samples.of_{view}", name) == told.loader
    kept = head.schema.field(column(name)).type
    if told.version == "refused":
        with refused(ContentTypeError, column=column(name)):
            kind_of(kept, column=column(name))
    else:
        assert kind_of(kept, column=column(name))
    state = ViewState(
        view="raw.most",
        entity=("item_id",),
        columns=(column(name),),
        schema=head.schema,
        ttl=None,
        delay=dt.timedelta(0),
        snapshot_id=1,
        as_of=AT,
        published_at=AT,
    )
    if told.online == "refused":
        with refused(UnservableColumnError, column=column(name)):
            refuse_unservable(state)
    else:
        refuse_unservable(state)


def test_a_version_and_a_store_refuse_the_types_that_they_do_not_hold(lake: Lake) -> None:
    assert list(said()) == list(VALUES)
    rest = [column(name) for name, told in said().items() if told.version == "refused"]
    with refused(ContentTypeError, column=rest[0]):
        lake.publish("of_rest", allow_pending=True)
    with SQLiteOnlineStore(lake.settings.online_store) as store:
        with refused(UnservableColumnError, column=column("time")):
            publish_view(lake, store, lake.table("raw.rest").head())
        publish_view(lake, store, lake.table("raw.most").head())
        (row,) = store.get("raw.most", [(1,)])
    assert row is not None
    kept = [_tuples(VALUES[name]) for name in VALUES if view_of(name) == "most"]
    assert list(row.values) == kept


def _tuples(value: object) -> object:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def test_lists_of_one_length_are_a_matrix_of_floats(lake: Lake) -> None:
    name = column("list<type>")
    spec = FeatureSpec(sequence=[name], key="sample_id")
    with SampleLoader(lake.dataset("of_most", version=1), spec=spec, batch_size=2) as loader:
        (batch,) = loader
    lists, first = batch.sequence[name], batch.keys.to_pylist().index("s1")
    found = lists.matrix(2)
    assert (found.dtype, found.shape) == (torch.float32, (2, 2))
    assert found[first].tolist() == VALUES["list<type>"]
    assert found[1 - first].tolist() == [0.0, 0.0]
    with refused(NotAMatrixError, row=first, values=2, width=3):
        lists.matrix(3)
    whole = RaggedTensor(torch.arange(4.0), torch.tensor([0, 2, 4])).matrix(2)
    assert whole.tolist() == [[0.0, 1.0], [2.0, 3.0]]
