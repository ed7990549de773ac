"""A drafted contract takes every record of the files that it was drafted from, as it reads them."""

import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.api import Lake
from headrace.config import Settings
from headrace.definitions.stream import Stream
from headrace.errors import DraftError
from headrace.ingest.draft import Draft, text_of
from headrace.ingest.infer import draft_of
from headrace.ingest.run import ingest
from headrace.ingest.sampling import sample_of
from tests.amounts import examples
from tests.raising import refused

T0 = 1_700_000_000


def land(settings: Settings, name: str, content: bytes | str) -> Path:
    path = settings.data_dir / "in" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def drafted(lake: Lake, *paths: Path) -> Draft:
    return draft_of(sample_of(paths), stream="mine", table="raw.mine", files="in/*")


def taken(lake: Lake, draft: Draft) -> pa.Table:
    """Ingest by the YAML text of a draft, whose records must all be rows."""
    stream = Stream.model_validate(yaml.safe_load(text_of(draft)))
    done = ingest(lake, stream)
    assert done.dead_letters == 0
    return lake.table("raw.mine").head().to_arrow()


def types(draft: Draft) -> dict[str, str]:
    return {name: each.type for name, each in draft.fields.items()}


def test_a_file_without_a_header_is_drafted_and_taken(lake: Lake, settings: Settings) -> None:
    lines = [f"{n % 90}\t{n % 70}\t{n % 5}\t{T0 + n}" for n in range(500)]
    draft = drafted(lake, land(settings, "u.data", "\n".join(lines)))
    assert draft.csv["delimiter"] == "\t"
    assert draft.fields["column_4"].options == {"unit": "s"}
    assert taken(lake, draft).num_rows == 500


def test_names_encodings_and_null_words_are_drafted(lake: Lake, settings: Settings) -> None:
    text = "userId;Straße;score;created at\n" + "".join(
        f"{n};Rue é {n % 3};{'NULL' if n % 5 == 0 else n / 4};{(T0 + n) * 1000}\n"
        for n in range(60)
    )
    draft = drafted(lake, land(settings, "a.csv", text.encode("latin-1")))
    assert draft.csv == {"delimiter": ";", "encoding": "latin-1", "null_values": ["NULL"]}
    assert types(draft) == {
        "user_id": "long",
        "stra_e": "string",
        "score": "double",
        "created_at": "timestamptz",
    }
    assert draft.fields["created_at"].options == {"unit": "ms"}
    assert draft.key == "user_id"
    table = taken(lake, draft)
    assert (table.num_rows, table.column("score").null_count) == (60, 12)


def test_codes_keep_their_zeros_letters_and_two_letter_nulls(
    lake: Lake, settings: Settings
) -> None:
    rows = ["007,E12,NA,2.5", "012,12E4,US,3", "100,7,DE,4.25"]
    text = "zip,code,country,amount,at\n" + "".join(
        f"{r},2026-01-0{n + 1}T00:00:00Z\n" for n, r in enumerate(rows)
    )
    draft = drafted(lake, land(settings, "a.csv", text))
    assert types(draft) == {
        "zip": "string",
        "code": "string",
        "country": "string",
        "amount": "double",
        "at": "timestamptz",
    }
    table = taken(lake, draft)
    assert table.column("zip").to_pylist() == ["007", "012", "100"]
    assert table.column("country").to_pylist() == ["NA", "US", "DE"]


@pytest.mark.slow
def test_what_is_only_late_in_a_large_file_counts(lake: Lake, settings: Settings) -> None:
    lines = [f"{n},{n % 7},2026-01-01T00:00:00Z" for n in range(60_000)]
    lines[30_000] = "30000,0.5,2026-01-01T00:00:00Z"  # in the middle
    lines[-1] = "x1,1,2026-01-01T00:00:00Z"
    draft = drafted(lake, land(settings, "a.csv", "n,v,at\n" + "\n".join(lines) + "\n"))
    assert types(draft) == {"n": "string", "v": "double", "at": "timestamptz"}
    assert taken(lake, draft).num_rows == 60_000


def test_json_texts_stay_texts_and_nested_values_are_named_by_their_paths(
    lake: Lake, settings: Settings
) -> None:
    records: list[dict[str, Any]] = [
        {
            "id": "202101010000000003",
            "at": "2026-01-01T00:00:00",
            "tags": [1, 2],
            "price": 1.5 if n % 2 else 2,
            "ok": None if n == 3 else True,
            "deep": {"a": 1},
            "odd": {},
            "userId": n,
        }
        for n in range(20)
    ]
    draft = drafted(lake, land(settings, "a.jsonl", "\n".join(map(json.dumps, records))))
    assert types(draft) == {
        "id": "string",
        "at": "timestamptz",
        "tags": "list<long>",
        "price": "double",
        "ok": "boolean",
        "deep_a": "long",
        "user_id": "long",
    }
    assert taken(lake, draft).column("user_id").to_pylist() == list(range(20))
    assert draft.fields["at"].options == {"timezone": "UTC"}
    assert any("odd" in note for note in draft.notes)


def test_parquet_types_are_those_of_the_file(lake: Lake, settings: Settings) -> None:
    path = land(settings, "a.parquet", b"")
    table = pa.table(
        {
            "userId": pa.array([1, 2], pa.int32()),
            "price": pa.array(["1.50", "2.25"]).cast(pa.decimal128(9, 2)),
            "ts": pa.array([T0 * 10**6, (T0 + 1) * 10**6], pa.timestamp("us")),
            "vec": pa.array([[0.5], [1.5]], pa.list_(pa.float32())),
            "raw": pa.array([b"x", b"y"], pa.binary()),
            "count": pa.array([1, None], pa.uint64()),
            "hash": pa.array([1, 2**64 - 1], pa.uint64()),
        }
    )
    pq.write_table(table, path)
    draft = drafted(lake, path)
    assert types(draft) == {
        "user_id": "int",
        "price": "decimal(9,2)",
        "ts": "timestamptz",
        "vec": "list<float>",
        "raw": "binary",
        "count": "long",
        "hash": "string",
    }
    assert draft.fields["hash"].notes == ["some are beyond the numbers of a `long`"]
    found = taken(lake, draft)
    assert found["hash"].to_pylist() == ["1", "18446744073709551615"]
    assert found["count"].to_pylist() == [1, None]


def test_files_of_no_use_are_refused_by_name(lake: Lake, settings: Settings) -> None:
    with refused(DraftError):
        drafted(lake, land(settings, "b.csv", b"\x1f\x8b\x08\x00rest"))
    with refused(DraftError):
        drafted(lake, land(settings, "c.csv", ""))
    text, rows = land(settings, "d.csv", "a,at\n1,2026-01-01T00:00:00Z\n"), land(settings, "e", "")
    pq.write_table(pa.table({"a": [1]}), rows)
    with refused(DraftError, path=str(rows)):
        drafted(lake, text, rows)


_CELL = st.one_of(
    st.just(""),
    st.integers(-(10**20), 10**20).map(str),
    st.floats(allow_nan=False).map(repr),
    st.sampled_from(
        ["NULL", "NA", "true", "x", "2026-01-01", "2026-01-01 12:00:00", "007", "1e5", "é"]
    ),
)


@given(
    cells=st.lists(st.tuples(_CELL, _CELL), min_size=2, max_size=12),
    delimiter=st.sampled_from([",", ";", "\t", "|"]),
    encoding=st.sampled_from(["utf-8", "latin-1"]),
)
@settings(
    deadline=None,
    max_examples=examples(150, few=20),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_whatever_the_cells_are_the_draft_takes_every_record(
    tmp_path: Path, cells: list[tuple[str, str]], delimiter: str, encoding: str
) -> None:
    lines = [delimiter.join(("left", "right", "event_at"))]
    lines += [delimiter.join((*pair, "2026-01-01T00:00:00Z")) for pair in cells]
    path = tmp_path / f"{random.random()}.csv"
    path.write_bytes("\n".join(lines).encode(encoding))
    # it ends by decoding what it claims, and raises if a record is refused
    draft = draft_of(sample_of([path]), stream="mine", table="raw.mine", files="in/*")
    Stream.model_validate(yaml.safe_load(text_of(draft)))
    assert list(types(draft)) == ["left", "right", "event_at"]


@pytest.mark.parametrize("name", ["a.csv", "nothing.csv", "/nothing/*.csv"])
def test_the_command_names_what_it_cannot_find(
    lake: Lake, settings: Settings, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    from typer.testing import CliRunner

    from headrace.cli.main import make_app

    land(settings, "a.csv", "id,at\n1,2026-01-01T00:00:00Z\n")
    monkeypatch.setenv("HEADRACE_LAKE", str(settings.declarations / "lake.toml"))
    monkeypatch.setenv("HEADRACE_STATE_DIR", str(settings.state_dir))
    monkeypatch.setenv("HEADRACE_DATA_DIR", str(settings.data_dir))
    done = CliRunner().invoke(make_app(), ["streams", "infer", str(Path("in", name))])
    assert done.exit_code == (0 if name == "a.csv" else 1)
    if name == "a.csv":
        assert yaml.safe_load(done.output)["event_time"] == "at"


def test_numbers_that_no_integer_holds_are_texts(lake: Lake, settings: Settings) -> None:
    large = "9" * 19
    path = land(settings, "a.csv", f"n,at\n{large},2026-01-01T00:00:00Z\n1,2026-01-01T00:00:00Z\n")
    assert types(drafted(lake, path))["n"] == "string"


def test_names_that_yaml_reads_as_no_texts_stay_names(lake: Lake, settings: Settings) -> None:
    path = land(settings, "a.csv", "on,No,Y,at\na,b,c,2026-01-01T00:00:00Z\n")
    found = yaml.safe_load(text_of(drafted(lake, path)))["fields"]
    assert list(found) == ["on", "no", "y", "at"]
    assert (found["no"]["from"], found["y"]["from"]) == ("No", "Y")


@pytest.mark.slow
@pytest.mark.parametrize("kib", [500, 640, 900])
def test_the_end_of_a_file_of_any_size_is_looked_at(
    lake: Lake, settings: Settings, kib: int
) -> None:
    line = "2026-01-01T00:00:00Z,1234\n"
    text = "at,v\n" + line * (kib * 1024 // len(line)) + "2026-01-01T00:00:00Z,0.5\n"
    assert types(drafted(lake, land(settings, "a.csv", text)))["v"] == "double"


def test_an_encoding_that_takes_any_bytes_is_said_to_be_a_guess(
    lake: Lake, settings: Settings
) -> None:
    content = "at,n\n2026-01-01T00:00:00Z,\u20ac\n".encode("cp1252")
    draft = drafted(lake, land(settings, "a.csv", content))
    assert any("not UTF-8" in note for note in draft.notes)


@pytest.mark.parametrize(
    ("name", "days", "form"),
    [
        ("hour", ["14102100", "14102123"], "%y%m%d%H"),
        ("hour", ["2014102100", "2014102123"], "%Y%m%d%H"),  # not the year 2033 in seconds
        ("day", ["20141021", "20141231"], "%Y%m%d"),
        ("event_date", ["201410212359", "201410220000"], "%Y%m%d%H%M"),
        ("hour", ["20120112", "20120113"], None),  # of 2012 or of 2020
        ("hour", ["14102100", "14102124"], None),
        ("weight", ["14102100", "14102123"], None),  # nothing says that they are times
        ("hour", ["14102100", ""], None),  # not every record has one
    ],
)
def test_digits_are_times_only_if_a_name_says_so_and_one_form_reads_them_all(
    lake: Lake, settings: Settings, name: str, days: list[str], form: str | None
) -> None:
    text = f"{name},v\n" + "".join(f"{day},x\n" for day in days)
    draft = drafted(lake, land(settings, "a.csv", text))
    assert draft.event_time == (name if form else "ingested")
    assert draft.fields[name].options.get("time_format") == form
    assert taken(lake, draft).num_rows == len(days)


def test_a_time_that_is_one_goes_before_digits(lake: Lake, settings: Settings) -> None:
    path = land(settings, "a.csv", f"date,time_ms\n20220408,{T0}000\n20220409,{T0}001\n")
    assert types(drafted(lake, path)) == {"date": "long", "time_ms": "timestamptz"}


def test_texts_that_are_lists_are_drafted_as_lists_and_others_are_not(
    lake: Lake, settings: Settings
) -> None:
    """Two tags `28,7` must not become the number 28.7."""
    lists = ['"[1, 2]","[0.5]","[""a""]","[1]",[x],"28,7"', '[],[1],"[]","[[2]]",[1],"4,65"']
    text = "whole,parts,words,deep,none,tags,at\n" + "".join(
        f"{each},2026-01-01T00:00:00Z\n" for each in lists
    )
    draft = drafted(lake, land(settings, "a.csv", text))
    assert types(draft) == {
        "whole": "list<long>",
        "parts": "list<double>",
        "words": "list<string>",
        "deep": "string",
        "none": "string",
        "tags": "string",
        "at": "timestamptz",
    }
    assert any("28,7" in note for note in draft.notes)
    table = taken(lake, draft)
    assert table["whole"].to_pylist() == [[1, 2], []]
    assert table["tags"].to_pylist() == ["28,7", "4,65"]
