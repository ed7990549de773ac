"""Values inside of nested JSON objects: what Python's parser finds there, by both paths of the decoder."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from headrace.api import Lake
from headrace.definitions.stream import Stream
from headrace.ingest import dead_letters
from headrace.ingest.decoding.json_lines import JsonDecoder
from headrace.ingest.infer import draft_of
from headrace.ingest.run import ingest
from headrace.ingest.sampling import sample_of
from tests.amounts import examples

AT = "2026-03-01T00:00:00Z"


def contract(**changes: Any) -> Stream:  # noqa: ANN401
    said: dict[str, Any] = {
        "stream": "things",
        "table": "raw.things",
        "source": {"files": "things/*", "complete_files": True},
        "format": "json",
        "event_time": "at",
        "known_at": {"after_event": "0s"},
        "fields": {
            "at": {"type": "timestamptz", "required": True, "from": "$.meta.at"},
            "user_id": {"type": "long", "required": True, "from": "$.user.id"},
            "lat": {"type": "double", "from": "$.user.geo.lat"},
            "tags": {"type": "list<string>", "from": "$.user.tags"},
            "page": {"type": "string"},
        },
    }
    return Stream.model_validate(said | changes)


def land(lake: Lake, *records: object) -> Path:
    folder = lake.settings.data_dir / "things"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "a.jsonl").write_text("\n".join(map(json.dumps, records)))
    return folder / "a.jsonl"


USER = st.none() | st.fixed_dictionaries(
    {},
    optional={
        "id": st.none() | st.integers(-9, 9),
        "geo": st.none()
        | st.fixed_dictionaries({}, optional={"lat": st.just(0.5), "x": st.just([1])}),
        "tags": st.none() | st.lists(st.sampled_from(["a", 'q"}']), max_size=2),
        "other": st.just({"id": 7}),
    },
)
RECORD = st.fixed_dictionaries(
    {"meta": st.just({"at": AT, "v": 1})}, optional={"user": USER, "page": st.just("p")}
)


@pytest.mark.slow
@pytest.mark.hypothesis
@given(records=st.lists(RECORD, min_size=1, max_size=8), odd=st.booleans())
@settings(max_examples=examples(1_000, few=40), deadline=None)
def test_a_path_gives_what_is_there(records: list[dict[str, Any]], odd: bool) -> None:
    # a blank at the end of a line makes it one that is decoded singly
    lines = [json.dumps(record).encode() + b" " * odd for record in records]
    decoded = JsonDecoder(contract()).decode(lines)
    assert decoded.violations == {}
    for name, steps in {
        "at": ("meta", "at"),
        "user_id": ("user", "id"),
        "lat": ("user", "geo", "lat"),
        "tags": ("user", "tags"),
        "page": ("page",),
    }.items():
        assert decoded.columns[name].to_pylist() == [inside(record, steps) for record in records]


def inside(value: Any, steps: tuple[str, ...]) -> Any:  # noqa: ANN401
    for step in steps:
        value = None if value is None else value.get(step)
    return value


@pytest.mark.slow
def test_what_is_no_object_on_the_way_is_a_dead_letter_of_its_own(lake: Lake) -> None:
    good = {"meta": {"at": AT}, "user": {"id": 1, "geo": None}}
    land(
        lake, good, good | {"user": "u1"}, good | {"user": [{"id": 1}]}, good | {"user": None}, good
    )
    with (lake.settings.data_dir / "things" / "a.jsonl").open("a") as more:
        more.write('\n{"meta": {"at": "' + AT + '"}, "user": {"id": 1, "id": 2}}')
    done = ingest(lake, contract())
    assert (done.rows, dict(done.reasons)) == (
        2,
        {"wrong_type": 2, "missing_required `user_id`": 1, "malformed": 1},
    )
    letters = lake.table(dead_letters.TABLE).head().to_arrow()
    assert sorted(letters["_source_offset"].to_pylist()) == [1, 2, 3, 5]
    assert done.undeclared_fields == {}


def test_a_draft_names_values_inside_of_objects_by_their_paths(lake: Lake) -> None:
    records = [
        {
            "id": f"e{n}",
            "meta": {"at": AT},
            "user": {"id": n, "geo": {"lat": n / 2}},
            "x": {"y": None},
        }
        for n in range(30)
    ]
    records += [{"id": "z", "meta": {"at": AT}, "user": None, "odd": {"a": 1}}]
    records += [{"id": "y", "meta": {"at": AT}, "user": {"id": 5}, "odd": "text"}]
    draft = draft_of(
        sample_of([land(lake, *records)]), stream="things", table="raw.things", files="things/*"
    )
    sources = {name: each.source for name, each in draft.fields.items()}
    assert sources["user_id"] == "$.user.id"
    assert sources["user_geo_lat"] == "$.user.geo.lat"
    assert draft.event_time == "meta_at"
    done = ingest(lake, Stream.model_validate(draft.declared()))
    assert (done.rows, done.dead_letters) == (32, 0)
    rows = lake.table("raw.things").head().to_arrow().sort_by("_source_offset")
    assert rows["user_id"].to_pylist() == [*range(30), None, 5]
    assert rows["user_geo_lat"].to_pylist()[:3] == [0.0, 0.5, 1.0]


def test_a_path_may_not_cross_another_field_and_needs_unknown_fields_to_be_ignored() -> None:
    fields = contract().model_dump(mode="json", exclude_none=True)["fields"]
    with pytest.raises(ValidationError):
        contract(fields=fields | {"user": {"type": "string"}})
    with pytest.raises(ValidationError):
        contract(unknown_fields="dead_letter")
    assert contract(fields={**fields, "dotted": {"type": "string", "from": "user.id"}})
