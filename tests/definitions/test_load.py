"""Loading declarations: the lake's own are fine, and every problem of wrong ones is named with its line."""

import os
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import settings as run_settings
from hypothesis import strategies as st

from headrace.config import Settings
from headrace.definitions.load import inspect_declarations, load_sample_sets, load_streams
from headrace.definitions.source_lines import read_document
from headrace.errors import DefinitionError
from tests.amounts import examples

GOOD = """\
stream: clicks
table: raw.clicks
source: {files: "clicks/*.csv"}
format: csv
event_time: clicked_at
fields:
  click_id: {type: string, required: true}
  clicked_at: {type: timestamptz, required: true}
"""
SAMPLES = """\
samples: ctr
table: samples.ctr
exposures: {table: staging.impressions, id: impression_id, entities: [item_id]}
features:
  - {view: features.a, columns: [x]}
labels:
  - {name: click, stream: staging.clicks, window: 30m}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "lake" / "streams").mkdir(parents=True)
    (tmp_path / "lake" / "samples").mkdir()
    (tmp_path / "lake" / "lake.toml").write_text('profile = "p"\n[profiles.p]\n')
    return tmp_path


def problems(folder: Path, text: str, *, kind: str = "streams") -> tuple[str, ...]:
    (folder / "lake" / kind / "it.yaml").write_text(text)
    found = inspect_declarations(Settings.load(env={}, path=folder / "lake" / "lake.toml"))
    return tuple(problem.removeprefix(f"lake/{kind}/it.yaml:") for problem in found.problems)


def test_the_declarations_of_this_lake_are_fine(settings: Settings) -> None:
    assert set(load_streams(settings)) >= {"impressions", "clicks", "items"}
    assert "ctr" in load_sample_sets(settings)


def test_a_key_that_does_not_exist_names_the_line_and_the_key_that_was_meant(folder: Path) -> None:
    assert problems(folder, GOOD + "window: 5m\n") == (
        "9  `window` is not a field of a stream; did you mean `allowed_lateness`?",
    )


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("table: raw.clicks", "table: raw-clicks", "2  `table`: `raw-clicks` is not a valid table"),
        ("table: raw.clicks\n", "", "1  `table` is missing; a stream must have it"),
        ("csv\n", "xml\n", "4  `format` is `xml`, but must be one of `csv`, `json`, `parquet`"),
        ("clicks/*", "../clicks/*", "3  `source.files`: `../clicks/*.csv` must be a pattern below"),
        ("string", "strin", "7  `fields.click_id.type`: `strin` is not a type; allowed are `string`"),
        ("string", "binary", "7  `fields.click_id`: `click_id` is `binary`, which csv cannot hold here; `parquet` can"),
        ("string", "decimal(40)", "7  `fields.click_id.type`: `decimal(40)` is not a type"),
        ("timestamptz", "string", "5  `event_time`: `clicked_at` is the event time"),
        ("event_time: clicked_at", "event_time: click_at", "did you mean `clicked_at`?"),
        ("clicked_at: {type: timestamptz, required: true}", "clicked_at: {type: timestamptz}",
         "5  `event_time`: `clicked_at` is the event time of the stream, so the field must be"),
        ("fields:", "key: nope\nfields:", "6  `key`: `nope` is not a declared field; allowed are"),
        ("fields:", "partition_by: [day(click_id)]\nfields:", "needs a column of times or dates"),
        ("fields:", "known_at: later\nfields:", "6  `known_at`: `later` must be `ingested`"),
        ("fields:", "known_at: {after: 1s}\nfields:", "6  `after` is not a field of `known_at`"),
        ("fields:", "allowed_lateness: 5\nfields:", "6  `allowed_lateness`: `5` is not a duration"),
        ("fields:", 'version: "1"\nfields:', "6  `version` is `1`, but must be a whole number"),
        ("fields:", "format: csv\nfields:", "6  `format` occurs twice"),
        ("  click_id:", "  _source_offset:", "`_source_offset` is a row coordinate"),
        ("  click_id:", "  _partition:", "7  `fields._partition`: `_partition` is reserved by Ice"),
        ("  click_id:", "  _change_reason:", "`_change_reason` is reserved by Iceberg"),
        ("  click_id:", "  event_time:", "field `event_time` would collide"),
        ("fields:\n", "fields: [\n", "is not YAML"),
    ],
)  # fmt: skip
def test_each_mistake_is_named_with_its_line(folder: Path, old: str, new: str, said: str) -> None:
    assert old in GOOD
    found = problems(folder, GOOD.replace(old, new, 1))
    assert any(said in problem for problem in found), found


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("window: 30m", "window: 0s", "7  `labels.0.window`: a label's window must be longer"),
        ("columns: [x]", "columns: []", "5  `features.0.columns` is `[]`, but must be a list"),
        ("view: features.a", "view: a", "5  `features.0.view`: `a` is not a valid table name"),
        ("columns: [x]", "columns: [item_id]", "give this feature a `prefix`"),
        ("labels:", "keep_negatives: {rate: 2, salt: a}\nlabels:", "6  `keep_negatives.rate`: `2`"),
        ("exposures: {", "exposures: {key: a, ", "3  `key` is not a field of exposures; did you mean `id`?"),
    ],
)  # fmt: skip
def test_a_wrong_sample_set_is_named_with_its_line(
    folder: Path, old: str, new: str, said: str
) -> None:
    assert old in SAMPLES
    found = problems(folder, SAMPLES.replace(old, new, 1), kind="samples")
    assert any(said in problem for problem in found), found


_ALIASES = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{at}: &a{at} [{','.join([f'*a{at - 1}'] * 9)}]\n" for at in range(1, 9)
)
_LISTS = "list<" * 2_000 + "int" + ">" * 2_000


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("stream: clicks", "stream: clicks\n" + _ALIASES),
        ("stream: clicks", "stream: clicks\nx: " + "[" * 1_000 + "]" * 1_000),
        ("stream: clicks", "stream: clicks\nx: " + "[" * 40 + "]" * 40),
        ("stream: clicks", "stream: clicks\n#" + "x" * 300_000),
        *(
            ("stream: clicks", f"stream: clicks\nversion: {value}")
            for value in ("!!int ''", "!!float ''", "!!bool x", "!!timestamp foo", "2147483648")
        ),
        ("stream: clicks", 'stream: clicks\nkey: "\\ud800"'),
        ("stream: clicks", 'stream: clicks\n"\\ud800": x'),
        ("{type: string, required: true}", f"{{type: '{_LISTS}'}}"),
        *(
            ("clicks/*.csv", pattern)
            for pattern in ("**.csv", ".", "x" * 300 + ".csv", "a/\\0.csv", "a/***/b")
        ),
    ],
)
def test_a_declaration_that_would_end_in_a_traceback_or_never_is_a_problem(
    folder: Path, old: str, new: str
) -> None:
    found = problems(folder, GOOD.replace(old, new))
    assert found
    assert all(len(problem) < 400 for problem in found)
    "\n".join(found).encode()  # it can be shown


def test_a_declaration_that_is_no_file_is_a_problem(folder: Path) -> None:
    os.mkfifo(folder / "lake" / "streams" / "pipe.yaml")
    assert len(problems(folder, GOOD)) == 1


def test_problems_of_all_files_come_in_one_error(folder: Path) -> None:
    streams = folder / "lake" / "streams"
    (streams / "a.yaml").write_text(GOOD.replace("csv\n", "xml\n") + "typo: 1\n")
    (streams / "b.yaml").write_text("")
    (streams / "c.yaml").write_bytes(b"\xff\xfe")
    (streams / "d.yaml").write_text("- a list\n")
    with pytest.raises(DefinitionError) as raised:
        load_streams(Settings.load(env={}, path=folder / "lake" / "lake.toml"))
    assert len(raised.value.problems) == 5
    assert str(raised.value).count("lake/streams/a.yaml:") == 2


def test_of_two_streams_that_fill_one_table_neither_can_be_used(folder: Path) -> None:
    (folder / "lake" / "streams" / "a.yaml").write_text(GOOD.replace("stream: clicks", "stream: a"))
    said = problems(folder, GOOD)
    assert len(said) == 2
    assert said[0].startswith("lake/streams/a.yaml:2  `raw.clicks` is declared in")
    assert said[1].startswith("2  `raw.clicks` is declared in `lake/streams/a.yaml` too")
    settings = Settings.load(env={}, path=folder / "lake" / "lake.toml")
    assert inspect_declarations(settings).streams == {}


def test_of_two_streams_that_fill_one_paimon_table_neither_can_be_used(folder: Path) -> None:
    keyed = GOOD + "key: click_id\nkeyed: paimon\n"
    other = keyed.replace("stream: clicks", "stream: a").replace(
        "table: raw.clicks", "table: raw.a"
    )
    other = other.replace("keyed: paimon", "keyed: {paimon: raw.clicks}")
    (folder / "lake" / "streams" / "a.yaml").write_text(other)
    said = problems(folder, keyed)
    assert len(said) == 2
    assert "`raw.clicks` is declared in" in said[0]
    settings = Settings.load(env={}, path=folder / "lake" / "lake.toml")
    assert inspect_declarations(settings).streams == {}


@run_settings(max_examples=examples(200, few=60), deadline=None)
@given(st.text(max_size=200))
def test_no_text_makes_the_reader_raise(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(text, encoding="utf-8", errors="replace", newline="")
    document = read_document(path)
    assert document.problems or document.content is not None or document.marks


@run_settings(max_examples=examples(200, few=60), deadline=None)
@given(st.integers(0, len(GOOD) - 1), st.text("{}[]:,&*!|>'\"%@`\n -xa1", max_size=4))
def test_no_slip_in_a_stream_makes_loading_raise_anything_but_problems(
    tmp_path_factory: pytest.TempPathFactory, at: int, slip: str
) -> None:
    root = tmp_path_factory.getbasetemp() / "slips"
    (root / "lake" / "streams").mkdir(parents=True, exist_ok=True)
    (root / "lake" / "lake.toml").write_text('profile = "p"\n[profiles.p]\n')
    (root / "lake" / "streams" / "it.yaml").write_text(GOOD[:at] + slip + GOOD[at:])
    inspect_declarations(Settings.load(env={}, path=root / "lake" / "lake.toml"))


def test_a_text_that_was_read_is_composed_no_more_and_a_changed_file_is_read_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("a: [1, 2]\n")
    first = read_document(file)
    with monkeypatch.context() as patch:
        patch.setattr(yaml, "compose", None)
        again = read_document(file)
    assert first == again
    assert first.content is not again.content  # a reader may change what it got
    file.write_text("a: [2, 2]\n")  # as long as before
    assert read_document(file).content == {"a": [2, 2]}
