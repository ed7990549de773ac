"""Window views: what they resolve to beside their stream, and what is wrong with others, by line."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from headrace.config import Settings
from headrace.definitions.load import inspect_declarations, load_window_views
from headrace.definitions.window_view import WindowView
from headrace.definitions.windows import Windows, resolve_windows
from headrace.errors import DefinitionError
from tests.samples.window_oracle import STREAM, windows_of

STREAM_TEXT = """\
stream: plays
table: raw.plays
source: {files: "plays/*.jsonl"}
format: json
key: id
event_time: at
fields:
  id: {type: string, required: true}
  at: {type: timestamptz, required: true}
  user_id: {type: long}
  score: {type: double}
  price: {type: "decimal(30,2)"}
  tags: {type: list<string>}
"""
VIEW = """\
view: features.recent
events: raw.plays
entity: [user_id]
hop: 5m
aggregates:
  - {name: plays, take: count, windows: [1h, 1d]}
  - {name: last_at, take: max, of: at, windows: [1d]}
"""


@pytest.fixture
def settings_here(tmp_path: Path) -> Settings:
    (tmp_path / "lake" / "streams").mkdir(parents=True)
    (tmp_path / "lake" / "windows").mkdir()
    (tmp_path / "lake" / "lake.toml").write_text('profile = "p"\n[profiles.p]\n')
    (tmp_path / "lake" / "streams" / "plays.yaml").write_text(STREAM_TEXT)
    return Settings.load(env={}, path=tmp_path / "lake" / "lake.toml")


def problems(settings: Settings, text: str) -> tuple[str, ...]:
    path = settings.declarations / "windows" / "it.yaml"
    path.write_text(text)
    found = inspect_declarations(settings).problems
    return tuple(problem.removeprefix("lake/windows/it.yaml:") for problem in found)


def test_a_view_is_resolved_with_the_contract_of_its_stream(settings_here: Settings) -> None:
    assert problems(settings_here, VIEW) == ()
    found = load_window_views(settings_here)["features.recent"]
    assert (found.events, found.key, found.entity) == ("raw.plays", "id", ("user_id",))
    assert found.inputs == ("event_time",)  # as the table stores `at`
    assert found.schema().names == ["plays_1h", "plays_1d", "last_at_1d"]
    assert found.stale_us == 3_600_000_000
    assert inspect_declarations(settings_here).count == 2


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("raw.plays", "raw.clicks", "2  `events`: `raw.clicks` is the table of no declared stream"),
        ("features.recent", "raw.plays", "1  `view`: `raw.plays` is the table of stream `plays`"),
        ("[user_id]", "[user]", "3  `entity`: `user` is not a field of stream `plays`"),
        ("[user_id]", "[score]", "3  `entity`: `score` is `double`, which cannot be a key"),
        ("of: at", "of: nope", "7  `aggregates`: `nope` is not a field of stream `plays`"),
        ("take: max, of: at", "take: sum, of: score", "7  `aggregates`: `sum` is taken of `score`"),
        (
            "take: max, of: at",
            "take: sum, of: price",
            "it takes an `int`, a `long`, or a `decimal`",
        ),
        ("take: max, of: at", "take: last, of: tags", "it takes a field that is no list"),
        ("take: max, of: at", "take: max", "`take: max` needs the field that it is taken of"),
        ("take: count", "take: count, keep: 5", "only `distinct` and `last` keep values"),
        ("hop: 5m", "hop: 7m", "the window `1h` is no multiple of the hop `7m`"),
        ("hop: 5m", "hop: 1s", "the window `1d` has 86,400 tiles, at most 10,000 are possible"),
        ("hop: 5m", "hop: 0s", "4  `hop`: it must be longer than 0s"),
        ("hop: 5m", "hop: 5m\nlateness: 1m\ndelay: 2m", "with a delay of 2m every event is later"),
        ("hop: 5m", "hop: 5m\ndelay: 7h", "the delay is longer than 64 hops"),
        ("name: last_at", "name: plays", "`plays_1d` is listed twice"),
        ("[1h, 1d]", "[1h, 60m]", "`1h` is listed twice"),
        ("hop: 5m", "hop: 5m\nttl: 5m", "did you mean `stale_after`?"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(
    settings_here: Settings, old: str, new: str, said: str
) -> None:
    assert old in VIEW
    (found,) = problems(settings_here, VIEW.replace(old, new, 1))
    assert said in found
    with pytest.raises(DefinitionError) as caught:
        load_window_views(settings_here)
    assert caught.value.problems == (f"lake/windows/it.yaml:{found}",)


def test_a_view_of_a_stream_that_cannot_be_used_is_no_worse_itself(settings_here: Settings) -> None:
    stream = settings_here.declarations / "streams" / "plays.yaml"
    stream.write_text(STREAM_TEXT.replace("format: json", "format: xml"))
    (found,) = problems(settings_here, VIEW)
    assert found.startswith("lake/streams/plays.yaml:4")
    assert load_error(settings_here) == 1


def load_error(settings: Settings) -> int:
    with pytest.raises(DefinitionError) as caught:
        load_window_views(settings)
    return len(caught.value.problems)


def test_two_views_of_one_name_are_both_refused(settings_here: Settings) -> None:
    (settings_here.declarations / "windows" / "also.yaml").write_text(VIEW)
    assert len(problems(settings_here, VIEW)) == 2  # one a file
    assert load_error(settings_here) == 2


def test_a_resolved_view_is_read_back_from_its_text() -> None:
    windows = windows_of(delay="3s", lateness="45s")
    assert Windows.from_json(windows.to_json()) == windows
    types = {field.name: field.type for field in windows.schema()}
    assert types["total_30s"] == pa.int64()
    assert types["paid_10s"] == pa.decimal128(38, 2)
    assert types["recent_1m"] == pa.list_(pa.field("element", pa.int64()))
    assert types["least_30s"] == pa.float64()


def test_without_a_lateness_no_event_that_could_matter_is_too_late() -> None:
    said: dict[str, Any] = {
        "view": "features.recent",
        "events": "raw.plays",
        "entity": ["u"],
        "hop": "10s",
        "delay": "5s",
        "aggregates": [{"name": "plays", "take": "count", "windows": ["1m"]}],
    }
    assert resolve_windows(WindowView.model_validate(said), [STREAM]).lateness_us == 75_000_000
