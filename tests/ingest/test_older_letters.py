"""Dead letters of before they kept the names of the source: a field that is renamed since is told by name."""

from typing import Any

import pytest

from headrace.api import Lake
from headrace.definitions.stream import Stream
from headrace.ingest.replay import replay
from headrace.ingest.retry import apply_retry
from headrace.ingest.run import ingest
from tests.ingest.factories import dead_of, make_stream, rows_of

pytestmark = pytest.mark.slow


def contract(version: int, **fields: dict[str, Any]) -> Stream:
    told = make_stream("csv").model_dump(mode="json", exclude_none=True)
    base = {name: told["fields"][name] for name in ("id", "at")}
    return Stream.model_validate(told | {"version": version, "fields": base | fields})


def test_a_replay_names_what_it_found_no_field_for_and_a_retry_of_the_file_has_it(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    then = contract(1, cost={"type": "int", "from": "Price"})
    now = contract(2, amount={"type": "double", "from": "Price"})
    folder = lake.settings.data_dir / "things"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "a.csv").write_text("id,at,Price\na,2026-03-01T00:00:00Z,9.5\n")
    with monkeypatch.context() as patched:
        patched.setattr(Stream, "source_of", lambda _, name: name)
        ingest(lake, then)
    done = replay(lake, now)
    assert (done.rows, done.undeclared_fields, done.absent_fields) == (1, ("cost",), ("amount",))
    assert rows_of(lake, now)["amount"].to_pylist() == [None]
    apply_retry(lake, now, "things/a.csv")
    ingest(lake, now)
    assert rows_of(lake, now)["amount"].to_pylist() == [9.5]
    assert dead_of(lake, now).num_rows == 0
