"""Samples built by Trino: the tests of samples, the oracle of the join, and the hash of a dataset."""

import datetime as dt
import random
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headrace.api import Lake
from headrace.config import Settings
from headrace.datasets.publish import publish
from headrace.definitions.load import load_sample_sets, load_streams
from headrace.definitions.sample_set import SampleSet
from headrace.engines.dialect import MICROSECOND
from headrace.engines.trino import TrinoEngine
from headrace.engines.trino_dialect import TrinoDialect
from headrace.identifiers import TableName
from headrace.ingest.run import ingest
from headrace.samples.audit import duplicate_ids, leaks
from headrace.samples.build import build
from headrace.samples.labels import is_kept, kept_sql
from headrace.samples.point_in_time import record_sql
from tests.cluster.servers import Servers
from tests.cluster.trino_lakes import FILES, engine_of, on_servers, shared_lake
from tests.samples.factories import Shop, fill, settings_in
from tests.samples.oracle import Row, newest_known
from tests.samples.test_build import (
    test_a_feature_row_without_known_at_is_refused,
    test_a_flipped_bit_of_an_input_stops_a_build_and_is_named,
    test_a_label_can_count_or_take_a_column_of_its_first_event,
    test_a_label_goes_from_pending_to_mature_when_the_watermark_passes_its_window,
    test_a_late_feature_row_never_changes_an_old_sample,
    test_a_second_build_plans_nothing_and_commits_nothing,
    test_a_tap_that_becomes_known_after_maturity_corrects_the_label,
    test_an_exposure_id_twice_in_a_day_is_refused_by_name,
    test_each_day_is_one_snapshot_with_its_inputs_and_its_recipe,
    test_sample_files_are_uncompressed_until_their_owner_says_otherwise,
    test_the_audits_count_nothing_in_a_build_and_something_in_a_planted_leak,
    test_the_window_takes_its_first_instant_and_not_its_last,
)
from tests.samples.test_inspect import (
    test_an_unknown_id_is_an_error_that_says_where_it_looked,
    test_it_names_the_row_used_and_the_newer_row_that_came_too_late,
    test_it_tells_an_expired_row_from_none,
)
from tests.samples.test_labels import (
    test_a_nan_label_is_no_value_for_the_lockfile_nor_for_sampling,
    test_positives_stay_and_a_dropped_negative_comes_back_when_it_turns_positive,
)
from tests.samples.test_point_in_time import (
    EXPOSURE,
    FEATURE,
    MANY_JOIN,
    at,
    begun,
    join_of,
    many,
    numbered,
)
from tests.samples.test_truth import simulated, stage

pytestmark = pytest.mark.cluster
__all__ = [
    "simulated",
    "test_a_feature_row_without_known_at_is_refused",
    "test_a_flipped_bit_of_an_input_stops_a_build_and_is_named",
    "test_a_label_can_count_or_take_a_column_of_its_first_event",
    "test_a_label_goes_from_pending_to_mature_when_the_watermark_passes_its_window",
    "test_a_late_feature_row_never_changes_an_old_sample",
    "test_a_nan_label_is_no_value_for_the_lockfile_nor_for_sampling",
    "test_a_second_build_plans_nothing_and_commits_nothing",
    "test_a_tap_that_becomes_known_after_maturity_corrects_the_label",
    "test_an_exposure_id_twice_in_a_day_is_refused_by_name",
    "test_an_unknown_id_is_an_error_that_says_where_it_looked",
    "test_each_day_is_one_snapshot_with_its_inputs_and_its_recipe",
    "test_it_names_the_row_used_and_the_newer_row_that_came_too_late",
    "test_it_tells_an_expired_row_from_none",
    "test_positives_stay_and_a_dropped_negative_comes_back_when_it_turns_positive",
    "test_sample_files_are_uncompressed_until_their_owner_says_otherwise",
    "test_the_audits_count_nothing_in_a_build_and_something_in_a_planted_leak",
    "test_the_window_takes_its_first_instant_and_not_its_last",
]

DIALECT = TrinoDialect()


@pytest.fixture
def shop(servers: Servers, tmp_path: Path) -> Iterator[Shop]:
    """The shop of the tests of samples, in a lake that Trino shares."""
    with shared_lake(on_servers(servers, settings_in(tmp_path))) as lake:
        yield fill(Shop.open(lake))


@pytest.fixture
def engine(servers: Servers, settings: Settings) -> Iterator[TrinoEngine]:
    with (
        shared_lake(on_servers(servers, settings)) as lake,
        engine_of(lake.settings) as opened,
    ):
        yield opened


def colliding(seed: int) -> tuple[list[Row], list[Row]]:
    """Rows of few instants, users and places, nulls among them, so that everything collides."""
    draw = random.Random(seed)
    instants = [at(s) for s in (0, 1, 2, 2.000001, 3, 4, 5, 7)]
    users, places = [1, 1, 2, None], ["a", "a", "b", None]
    exposures: list[Row] = [
        {"u": draw.choice(users), "c": draw.choice(places), "t": draw.choice(instants)}
        for _ in range(60)
    ]
    features: list[Row] = [
        {
            "u": draw.choice(users),
            "c": draw.choice(places),
            "happened": draw.choice([*instants, None]),
            "known": draw.choice([*instants, None]),
            "v": draw.choice([0, 1, 2, None]),
            "w": draw.choice(["x", "y", None]),
        }
        for _ in range(40)
    ]
    return exposures, features


JOINS = [
    join_of(),
    join_of(ttl=dt.timedelta(seconds=2), entity=("u",)),
    join_of(ttl=dt.timedelta(0), delay=dt.timedelta(seconds=1)),
    join_of(delay=dt.timedelta(microseconds=1), order=("u", "c", "v", "w")),
    join_of(
        ttl=dt.timedelta(seconds=5),
        delay=dt.timedelta(seconds=2),
        entity=("u",),
        order=("u", "c", "v", "w"),
    ),
]


def test_the_join_gives_what_looking_at_every_row_gives(engine: TrinoEngine) -> None:
    cases = [(join, colliding(seed)) for seed, join in enumerate(JOINS)] + [(MANY_JOIN, many(7))]
    for join, (exposures, features) in cases:
        if join is not MANY_JOIN:
            exposures, features = numbered(exposures, features, join)
        engine.bind_arrow("exposures", pa.Table.from_pylist(exposures, EXPOSURE))
        engine.bind_arrow("features", pa.Table.from_pylist(features, FEATURE))
        sql = record_sql(begun(exposures), join, dialect=DIALECT)
        rows = engine.query(sql).read_all().to_pylist()
        assert len(rows) == len(exposures)
        found = {row.pop("id"): row for row in rows}
        assert found == {e["id"]: newest_known(e, features, join) for e in exposures}


def test_instants_are_exact_to_the_microsecond_from_1902_to_2105(engine: TrinoEngine) -> None:
    draw = random.Random(3)
    first, last = (dt.datetime(year, 1, 1, tzinfo=dt.UTC) for year in (1902, 2106))
    span = (last - first) // MICROSECOND
    moments = [first, last, first + MICROSECOND, last - MICROSECOND]
    moments += [first + draw.randrange(span) * MICROSECOND for _ in range(3000)]
    moments += [at(n / 1_000_000) for n in range(200)]
    epoch = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    counts = [(moment - epoch) // MICROSECOND for moment in moments]
    table = pa.table({"t": pa.array(moments, pa.timestamp("us", tz="UTC")), "us": counts})
    engine.bind_arrow("moments", table)
    shift = dt.timedelta(days=-400, microseconds=123_457)
    found = (
        engine.query(
            f"select us, t, {DIALECT.epoch_us('t')} as e, {DIALECT.instant('us')} as i,"
            f" {DIALECT.shifted('t', shift)} as s, {DIALECT.shifted('t', dt.timedelta(milliseconds=1))} as m"
            " from moments"
        )
        .read_all()
        .to_pylist()
    )
    wrong = [
        row
        for row in found
        if row["e"] != row["us"]
        or row["i"] != row["t"]
        or row["s"] != row["t"] + shift
        or row["m"] != row["t"] + dt.timedelta(milliseconds=1)
    ]
    assert wrong == []
    assert len(found) == len(moments)


def test_python_and_trino_keep_the_same_negatives(engine: TrinoEngine) -> None:
    ids = [f"{n}'ü-{n * 7919}" for n in range(500)]
    engine.bind_arrow("given", pa.table({"id": ids}))
    rate = Decimal("0.3")
    condition = kept_sql("id", rate=rate, salt="ab'c", dialect=DIALECT)
    rows = engine.query(f"select id, {condition} as kept from given").read_all().to_pylist()
    assert {row["id"]: row["kept"] for row in rows} == {
        text: is_kept(text, rate=rate, salt="ab'c") for text in ids
    }


@pytest.mark.timeout(900)  # a whole river, twice
# on S3 the whole demo is such a build, and so are four days that `test_trino_killed.py` kills
@pytest.mark.parametrize("catalog", [FILES, pytest.param("lake", marks=pytest.mark.proof)])
def test_a_build_by_trino_has_the_content_hash_of_one_by_duckdb(
    catalog: str, servers: Servers, simulated: Path, tmp_path: Path
) -> None:
    local = replace(
        Settings.load(env={}, path=simulated / "lake" / "lake.toml"), state_dir=tmp_path / "state"
    )
    settings = on_servers(servers, local, catalog=catalog)
    hashes: dict[str, tuple[str, int, int]] = {}
    with shared_lake(settings) as lake:
        for stream in load_streams(settings).values():
            ingest(lake, stream)
        stage(lake, "impressions", key="impression_id")
        stage(lake, "clicks", key="click_id")
        watch = load_sample_sets(settings)["watch"]
        features = [use for use in watch.features if str(use.view) == "raw.user_state"]
        for engine in ("trino", "duckdb"):
            said = {
                **dict(watch),
                "samples": engine,
                "table": TableName("samples", engine),
                "features": tuple(features),
            }
            sample_set = SampleSet.model_validate(said)
            with Lake.open(replace(settings, engine=engine)) as opened:
                result = build(opened, sample_set)
                version = opened.table(sample_set.table).head()
                assert leaks(version, settings=opened.settings).count == 0
                assert duplicate_ids(version, settings=opened.settings).count == 0
                lock = publish(opened, sample_set).lock
            hashes[engine] = (lock.content_hash, result.rows, result.positives)
        ordered = lake.table("samples.trino").head()
        for entry in ordered.files():
            with ordered.io.new_input(entry.data_file.file_path).open() as opened:
                table = pq.read_table(opened, columns=["event_time", "sample_id"])
            assert table.sort_by([("event_time", "ascending"), ("sample_id", "ascending")]) == table
    assert hashes["trino"] == hashes["duckdb"]
    assert hashes["trino"][1] > 10_000
