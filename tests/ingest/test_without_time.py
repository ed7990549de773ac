"""Streams whose records have no time: catalogues and the like."""

import datetime as dt
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from headrace.api import Lake
from headrace.definitions.sample_set import SampleSet
from headrace.definitions.stream import Stream
from headrace.ingest.infer import draft_of
from headrace.ingest.run import ingest
from headrace.ingest.sampling import sample_of
from headrace.samples.build import build

UTC = dt.UTC
SHOWN = Stream.model_validate(
    {
        "stream": "shown",
        "table": "raw.shown",
        "source": {"files": "shown/*", "complete_files": True},
        "format": "csv",
        "event_time": "at",
        "known_at": {"after_event": "0s"},
        "fields": {
            "id": {"type": "string", "required": True},
            "item_id": {"type": "long", "required": True},
            "at": {"type": "timestamptz", "required": True},
        },
    }
)
SAMPLES = SampleSet.model_validate(
    {
        "samples": "feed",
        "table": "samples.feed",
        "exposures": {"table": "raw.shown", "id": "id", "entities": ["item_id"]},
        "features": [{"view": "raw.items", "columns": ["price"]}],
    }
)


@pytest.fixture
def lake(lake: Lake, tmp_path: Path) -> Iterator[Lake]:
    """A lake with declarations of its own."""
    (tmp_path / "declared" / "streams").mkdir(parents=True)
    with Lake.open(replace(lake.settings, declarations=tmp_path / "declared")) as opened:
        yield opened


def take(lake: Lake, stream: Stream) -> int:
    """Declare a stream and ingest what is new."""
    said = stream.model_dump(mode="json", exclude_none=True)
    (lake.settings.declarations / "streams" / f"{stream.name}.yaml").write_text(json.dumps(said))
    return ingest(lake, stream).rows


def items(event_time: object, **changes: Any) -> Stream:  # noqa: ANN401
    said: dict[str, Any] = {
        "stream": "items",
        "table": "raw.items",
        "source": {"files": "items/*", "complete_files": True},
        "format": "csv",
        "event_time": event_time,
        "known_at": {"after_event": "0s"},
        "feature_view": {"entity": ["item_id"]},
        "fields": {
            "item_id": {"type": "long", "required": True},
            "price": {"type": "double", "required": True},
        },
    }
    return Stream.model_validate(said | changes)


def land(lake: Lake, name: str, text: str) -> Path:
    path = lake.settings.data_dir / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def shown(lake: Lake, **at: dt.datetime) -> None:
    lines = [f"{name},1,{time.isoformat()}" for name, time in at.items()]
    land(lake, f"shown/{min(at)}", "\n".join(["id,item_id,at", *lines]))
    take(lake, SHOWN)


def prices(lake: Lake) -> dict[str, float | None]:
    build(lake, SAMPLES)
    found = lake.table("samples.feed").head().to_arrow()
    return dict(zip(found["sample_id"].to_pylist(), found["price"].to_pylist(), strict=True))


def test_a_sample_has_the_version_of_a_row_that_was_newest_then(lake: Lake) -> None:
    stream = items("ingested")
    land(lake, "items/a.csv", "item_id,price\n1,10\n2,20\n")
    start = dt.datetime.now(UTC)
    take(lake, stream)
    between = dt.datetime.now(UTC)
    land(lake, "items/b.csv", "item_id,price\n1,8\n")
    take(lake, stream)
    rows = lake.table("raw.items").head().to_arrow()
    assert rows["event_time"].to_pylist() == rows["known_at"].to_pylist()
    after = dt.datetime.now(UTC)
    shown(lake, before=start, between=between, later=after)
    assert prices(lake) == {"before": None, "between": 10.0, "later": 8.0}


def test_a_constant_is_known_from_the_moment_it_names(lake: Lake) -> None:
    since = dt.datetime(2020, 1, 1, tzinfo=UTC)
    land(lake, "items/a.csv", "item_id,price\n1,10\n")
    assert take(lake, items({"constant": "2020-01-01T01:00:00+01:00"})) == 1
    assert lake.table("raw.items").head().to_arrow()["event_time"].to_pylist() == [since]
    shown(lake, at=since, after=since + dt.timedelta(microseconds=1))
    assert prices(lake) == {"at": None, "after": 10.0}


def test_a_constant_needs_an_offset_and_a_field_of_the_name_is_a_field() -> None:
    for wrong in ("2020-01-01", "2020-01-01T00:00:00", "soon", 7):
        with pytest.raises(ValidationError):
            items({"constant": wrong})
    with pytest.raises(ValidationError):
        items("nowhere")
    times = {"ingested": {"type": "timestamptz", "required": True}}
    stream = items("ingested", fields={**items("ingested").fields, **times})
    assert stream.time_field == "ingested"
    assert (
        items("ingested").definition_hash()
        != items({"constant": "2020-01-01T00:00:00Z"}).definition_hash()
    )


def test_a_draft_of_files_without_times_says_so(lake: Lake) -> None:
    path = land(lake, "items/a.csv", "item_id,price,ingested\n" + "1,10,x\n2,20,y\n")
    draft = draft_of(sample_of([path]), stream="items", table="raw.items", files="items/*")
    assert draft.event_time == "ingested"
    assert any("constant" in note for note in draft.notes)
    stream = Stream.model_validate(draft.declared())
    assert stream.time_field is None
    assert take(lake, stream) == 2
