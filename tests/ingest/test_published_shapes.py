"""Logs in the shapes that data sets are published in: drafted, taken and sampled, with the values of a plain reading."""

import datetime as dt
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headrace.api import Lake
from headrace.definitions.sample_set import SampleSet
from headrace.definitions.stream import Stream
from headrace.ingest.infer import draft_of
from headrace.ingest.run import ingest
from headrace.ingest.sampling import sample_of
from headrace.samples.build import build

pytestmark = pytest.mark.slow

UTC = dt.UTC
T0 = 1_650_000_000
ROWS = 300
SINCE = {"constant": "2020-01-01T00:00:00Z"}


@pytest.fixture
def lake(lake: Lake, tmp_path: Path) -> Iterator[Lake]:
    """A lake with declarations of its own."""
    (tmp_path / "declared" / "streams").mkdir(parents=True)
    with Lake.open(replace(lake.settings, declarations=tmp_path / "declared")) as opened:
        yield opened


@pytest.fixture
def rng() -> random.Random:
    return random.Random(7)


def file_of(lake: Lake, name: str) -> Path:
    path = lake.settings.data_dir / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def taken(lake: Lake, path: Path, **changes: object) -> Stream:
    """Ingest a file by the contract that is drafted from it; every record must be a row."""
    name = path.parent.name
    draft = draft_of(sample_of([path]), stream=name, table=f"raw.{name}", files=f"{name}/*")
    stream = Stream.model_validate(draft.declared() | changes)
    said = stream.model_dump(mode="json", exclude_none=True)
    (lake.settings.declarations / "streams" / f"{name}.yaml").write_text(json.dumps(said))
    done = ingest(lake, stream)
    assert (done.rows, done.dead_letters) == (ROWS, 0)
    return stream


def samples_of(
    lake: Lake, stream: Stream, entities: Sequence[str], features: Sequence[Any] = ()
) -> pd.DataFrame:
    """Make a sample of every row, in the order of the file, with all of its columns."""
    columns = [n for n in stream.fields if n not in (*entities, stream.time_field)]
    sample_set = SampleSet.model_validate(
        {
            "samples": "all",
            "table": "samples.all",
            "exposures": {
                "table": str(stream.table),
                "id": "_source_offset",
                "entities": list(entities),
                "columns": columns,
            },
            "features": features,
        }
    )
    build(lake, sample_set)
    found = lake.table("samples.all").head().to_arrow().sort_by("sample_id")
    return found.to_pandas(types_mapper=pd.ArrowDtype)


def is_same(found: pd.DataFrame, read: pd.DataFrame) -> None:
    """Compare every column of a plain reading with the samples' column of its name."""
    assert len(found) == len(read) == ROWS
    for name in read.columns:
        # as Python's values: a null is None, whichever type of column holds it
        assert pa.array(found[name]).to_pylist() == pa.array(read[name]).to_pylist(), name


def test_criteo_without_a_header_and_a_time_keeps_empty_fields_and_codes(
    lake: Lake, rng: random.Random
) -> None:
    path = file_of(lake, "criteo/train.txt")
    codes = [f"{rng.randrange(2**32):08x}" for _ in range(40)] + ["05db9164", "00000001"]
    with path.open("w") as out:
        for n in range(ROWS):
            counts = [rng.choice(["", "-1", "0", str(rng.randrange(2_000_000))]) for _ in range(13)]
            hashes = [rng.choice(["", *codes]) for _ in range(26)]
            if n == 5:
                counts, hashes = [""] * 13, [""] * 26
            out.write("\t".join([str(n % 3 // 2), *counts, *hashes]) + "\n")
    stream = taken(lake, path)
    assert (stream.event_time, stream.csv.header) == ("ingested", False)
    names = [f"column_{n}" for n in range(1, 41)]
    hashed = dict.fromkeys(names[14:], "string[pyarrow]")
    read = pd.read_csv(
        path, sep="\t", header=None, names=names, dtype=hashed, dtype_backend="pyarrow"
    )
    assert {stream.fields[name].type.text for name in names[:14]} == {"long"}
    is_same(samples_of(lake, stream, ["column_15"]), read)
    again = taken_again_at_a_constant(lake, path)
    assert set(again["event_time"].to_pylist()) == {dt.datetime(2020, 1, 1, tzinfo=UTC)}


def taken_again_at_a_constant(lake: Lake, path: Path) -> pa.Table:
    other = file_of(lake, "criteo_2020/train.txt")
    other.write_bytes(path.read_bytes())
    taken(lake, other, event_time=SINCE)
    return lake.table("raw.criteo_2020").head().to_arrow()


def test_kuairand_has_times_in_milliseconds_and_lists_of_tags(
    lake: Lake, rng: random.Random
) -> None:
    videos = file_of(lake, "videos/videos.csv")
    tags = [[rng.randrange(60) for _ in range(rng.randrange(4))] for _ in range(ROWS)]
    pd.DataFrame(
        {
            "video_id": range(ROWS),
            "video_type": ["AD" if n % 7 == 0 else "NORMAL" for n in range(ROWS)],
            "upload_dt": ["2022-04-08"] * ROWS,
            "video_duration": [None if n % 5 == 0 else n * 1000.5 for n in range(ROWS)],
            "tag": [json.dumps(each) for each in tags],
        }
    ).to_csv(videos, index=False)
    log = file_of(lake, "log/log_standard.csv")
    pd.DataFrame(
        {
            "user_id": [rng.randrange(30) for _ in range(ROWS)],
            "video_id": [rng.randrange(ROWS) for _ in range(ROWS)],
            "date": [20220408] * ROWS,
            "hourmin": [rng.randrange(24) * 100 for _ in range(ROWS)],
            "time_ms": [T0 * 1000 + n * 997 for n in range(ROWS)],
            "is_click": [rng.randrange(2) for _ in range(ROWS)],
            "play_time_ms": [rng.randrange(200_000) for _ in range(ROWS)],
        }
    ).to_csv(log, index=False)

    view = taken(
        lake,
        videos,
        event_time=SINCE,
        feature_view={"entity": ["video_id"]},
    )
    assert view.fields["tag"].type.text == "list<long>"
    stream = taken(lake, log)
    assert stream.time_field == "time_ms"
    columns = ["video_type", "upload_dt", "video_duration", "tag"]
    features = [{"view": "raw.videos", "columns": columns}]
    found = samples_of(lake, stream, ["user_id", "video_id"], features)
    read = pd.read_csv(log, dtype_backend="pyarrow").merge(
        pd.read_csv(videos, dtype_backend="pyarrow"), on="video_id", how="left"
    )
    read["event_time"] = pd.to_datetime(read.pop("time_ms").astype("int64"), unit="ms", utc=True)
    read["upload_dt"] = [dt.date.fromisoformat(str(each)) for each in read["upload_dt"]]
    read["tag"] = pd.Series([json.loads(each) for each in read["tag"]])
    is_same(found, read)


def test_yambda_has_unsigned_ids_seconds_lists_and_embeddings(
    lake: Lake, rng: random.Random
) -> None:
    seeded = np.random.default_rng(7)
    vectors = seeded.standard_normal((ROWS, 16))
    items = pa.array([2**32 - 1 - n for n in range(ROWS)], pa.uint32())
    embeddings = file_of(lake, "embeddings/embeddings.parquet")
    pq.write_table(
        pa.table(
            {
                "item_id": items,
                "embed": pa.array(list(vectors), pa.list_(pa.float64())),
                "normalized_embed": pa.FixedSizeListArray.from_arrays(
                    pa.array(vectors.astype(np.float32).ravel()), 16
                ),
            }
        ),
        embeddings,
    )
    listens = file_of(lake, "listens/listens.parquet")
    queue = [[rng.randrange(2**32) for _ in range(rng.randrange(5))] for _ in range(ROWS)]
    pq.write_table(
        pa.table(
            {
                "uid": pa.array([rng.randrange(50) for _ in range(ROWS)], pa.uint32()),
                "timestamp": pa.array([T0 + 5 * n for n in range(ROWS)], pa.uint32()),
                "item_id": items.take(pa.array([rng.randrange(ROWS) for _ in range(ROWS)])),
                "is_organic": pa.array([n % 2 for n in range(ROWS)], pa.uint8()),
                "played_ratio_pct": pa.array(
                    [None if n % 9 == 0 else n % 101 for n in range(ROWS)], pa.uint16()
                ),
                "queue": pa.array(queue, pa.list_(pa.uint32())),
            }
        ),
        listens,
    )

    view = taken(lake, embeddings, event_time=SINCE, feature_view={"entity": ["item_id"]})
    assert view.fields["normalized_embed"].length == 16
    stream = taken(lake, listens)
    assert stream.time_field == "timestamp"
    features = [{"view": "raw.embeddings", "columns": ["embed", "normalized_embed"]}]
    found = samples_of(lake, stream, ["uid", "item_id"], features)
    of_item = {row["item_id"]: row for row in pq.read_table(embeddings).to_pylist()}
    read = pq.read_table(listens).to_pylist()
    for row in read:
        row["event_time"] = dt.datetime.fromtimestamp(row.pop("timestamp"), UTC)
        row |= of_item[row["item_id"]]
    assert [{name: row[name] for name in read[0]} for row in rows_of(found)] == read


def rows_of(found: pd.DataFrame) -> list[dict[str, Any]]:
    return pa.Table.from_pandas(found, preserve_index=False).to_pylist()


def test_avazu_has_hours_of_digits_and_ids_beyond_every_integer(
    lake: Lake, rng: random.Random
) -> None:
    path = file_of(lake, "avazu/train.csv")
    with path.open("w") as out:
        out.write("id,click,hour,C1,banner_pos,site_id,app_id,device_ip,C20,C21\n")
        for n in range(ROWS):
            site, app, ip = (f"{rng.randrange(2**32):08x}" for _ in range(3))
            hour = f"1410{21 + n // 24 % 10}{n % 24:02}"
            out.write(
                f"{10**19 + n * 7},{n % 6 // 5},{hour},1005,{n % 3},{site},{app},{ip},-1,23\n"
            )
    stream = taken(lake, path)
    assert (stream.time_field, stream.key) == ("hour", "id")
    assert stream.fields["hour"].time_format == "%y%m%d%H"
    texts = dict.fromkeys(["id", "hour", "site_id", "app_id", "device_ip"], "string[pyarrow]")
    read = pd.read_csv(path, dtype=texts, dtype_backend="pyarrow")
    read["event_time"] = pd.to_datetime(read.pop("hour").astype(str), format="%y%m%d%H", utc=True)
    read = read.rename(columns={"C1": "c1", "C20": "c20", "C21": "c21"})
    is_same(samples_of(lake, stream, ["site_id"]), read)


def movielens(rng: random.Random) -> pd.DataFrame:
    """Ratings as MovieLens has them, by epoch seconds, and in the order of their times."""
    return pd.DataFrame(
        {
            "userId": [rng.randrange(1, 944) for _ in range(ROWS)],
            "movieId": [rng.randrange(1, 1683) for _ in range(ROWS)],
            "rating": [rng.randrange(1, 6) for _ in range(ROWS)],
            "timestamp": [874_724_710 + 61 * n for n in range(ROWS)],
        }
    )


def _lines(frame: pd.DataFrame, delimiter: str, header: str = "") -> str:
    rows = (delimiter.join(map(str, row)) for row in frame.itertuples(index=False))
    return "\n".join([*filter(None, [header]), *rows]) + "\n"


# how the same ratings are published: the file, its text, and the columns of user and item in a draft
MOVIELENS = {
    "100k, u.data": ("u.data", lambda f: _lines(f, "\t"), ("column_1", "column_2")),
    "1M, ratings.dat": ("ratings.dat", lambda f: _lines(f, "::"), ("column_1", "column_2")),
    "20M and later, ratings.csv": (
        "ratings.csv",
        lambda f: _lines(f, ",", "userId,movieId,rating,timestamp"),
        ("user_id", "movie_id"),
    ),
    "RecBole, ml-100k.inter": (
        "ml-100k.inter",
        lambda f: _lines(f, "\t", "user_id:token\titem_id:token\trating:float\ttimestamp:float"),
        ("user_id", "item_id"),
    ),
    "JSON lines": (
        "ratings.json",
        lambda f: f.to_json(orient="records", lines=True),
        ("user_id", "movie_id"),
    ),
}


@pytest.mark.parametrize("layout", MOVIELENS)
def test_movielens_is_read_in_each_layout_in_which_it_is_published(
    lake: Lake, rng: random.Random, layout: str
) -> None:
    name, text, (user, item) = MOVIELENS[layout]
    frame = movielens(rng)
    path = file_of(lake, f"ratings/{name}")
    path.write_text(text(frame))
    stream = taken(lake, path)
    found = samples_of(lake, stream, [user, item])
    rating = next(each for each in stream.fields if each not in (user, item, stream.time_field))
    read = pd.DataFrame(
        {
            user: frame["userId"],
            item: frame["movieId"],
            rating: frame["rating"],
            "event_time": pd.to_datetime(frame["timestamp"], unit="s", utc=True),
        }
    )
    for column in (user, item):  # RecBole's tokens are numbers too
        assert stream.fields[column].type.text == "long"
    is_same(found, read.astype({rating: "int64"}))


def test_movielens_items_are_latin_1_texts_between_bars(lake: Lake, rng: random.Random) -> None:
    titles = ["Toy Story (1995)", "Misérables, Les (1995)", "Cité des enfants perdus, La (1995)"]
    lines = []
    for n in range(ROWS):
        flags = "|".join(str(rng.randrange(2)) for _ in range(19))
        date = "" if n == 7 else f"{1 + n % 28:02d}-Jan-1995"
        lines.append(
            f"{n + 1}|{titles[n % 3]}|{date}||http://us.imdb.com/M/title-exact?{n}|{flags}"
        )
    path = file_of(lake, "items/u.item")
    path.write_bytes(("\n".join(lines) + "\n").encode("latin-1"))
    stream = taken(lake, path)
    assert stream.csv.encoding.replace("_", "-") in ("latin-1", "iso8859-1")
    names = [f"column_{n}" for n in range(1, 25)]
    read = pd.read_csv(
        path, sep="|", header=None, names=names, encoding="latin-1", dtype_backend="pyarrow"
    )
    is_same(samples_of(lake, stream, ["column_1"]), read.drop(columns="column_4"))
    empty = lake.table("raw.items").head().to_arrow()["column_4"]
    assert empty.null_count == ROWS
