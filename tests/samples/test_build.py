"""Building samples by day: what is rebuilt and why, and that a row never says what it should not."""

import datetime as dt
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headrace.datasets.publish import publish
from headrace.datasets.rebuild import rebuild
from headrace.errors import (
    CorruptFileError,
    DefinitionError,
    DuplicateExposureError,
    NullKnownAtError,
)
from headrace.iceberg.standard_properties import COMPRESSION_CODEC
from headrace.identifiers import TableName
from headrace.samples.audit import duplicate_ids, leaks
from headrace.samples.build import build
from headrace.samples.plan import plan_build
from headrace.tables.alter import AddColumn, DropColumn, RenameColumn, alter
from headrace.tables.commits import operations
from headrace.tables.lake import LakeTable
from headrace.tables.version import TableVersion
from headrace.tables.writer import write_batches
from tests.raising import refused
from tests.samples.factories import Shop, at, day, sample_set


def reasons(shop: Shop, **changes: object) -> dict[dt.date, str]:
    return dict(plan_build(shop.lake, sample_set(**changes)).reasons)


def test_a_second_build_plans_nothing_and_commits_nothing(shop: Shop) -> None:
    first = build(shop.lake, sample_set())
    assert [done.day for done in first.built] == [day(0), day(1), day(2)]
    assert first.rows == 6
    head = shop.lake.table("samples.taps").head().snapshot_id

    second = build(shop.lake, sample_set())

    assert not second.built
    assert second.unchanged == (day(0), day(1), day(2))
    assert shop.lake.table("samples.taps").head().snapshot_id == head


def test_each_day_is_one_snapshot_with_its_inputs_and_its_recipe(shop: Shop) -> None:
    result = build(shop.lake, sample_set(), run_id="run-7")
    table = shop.lake.table("samples.taps")
    commits = shop.lake.registry.commits("samples.taps")
    assert len(commits) == 3
    assert set(commits[0].inputs) == {"shop.shown", "shop.rates"}  # no taps were ever committed
    assert (commits[0].run_id, commits[0].code) == (
        "run-7",
        plan_build(shop.lake, sample_set()).recipe.code,
    )
    assert {key for key in table.head().partitions} == {(done.day,) for done in result.built}


def test_only_the_days_that_a_change_can_reach_are_rebuilt(shop: Shop) -> None:
    build(shop.lake, sample_set())

    shop.show(("d1-late", at(9, day=1), 1))
    assert reasons(shop) == {day(1): "exposures changed"}
    build(shop.lake, sample_set())

    shop.rate((2, at(1, day=1), at(1, day=1), 0.5))
    assert reasons(shop) == {day(1): "rates changed", day(2): "rates changed"}
    build(shop.lake, sample_set())

    shop.tap(
        ("d1-evening", at(1, day=2), at(1, day=2), 1)
    )  # within two hours of day 1 and of day 2
    assert reasons(shop) == {day(1): "tap events changed", day(2): "tap events changed"}
    build(shop.lake, sample_set())

    window = [{"name": "tap", "stream": "shop.taps", "window": "3h"}]
    assert set(reasons(shop, labels=window).values()) == {"new definition"}
    assert reasons(shop) == {}


def test_a_definition_can_gain_a_label_and_a_column_and_lose_them_again(shop: Shop) -> None:
    build(shop.lake, sample_set(features=[]))
    more = [
        {"name": "tap", "stream": "shop.taps", "window": "2h"},
        {"name": "taps", "stream": "shop.taps", "window": "4h", "value": "count"},
    ]
    build(shop.lake, sample_set(labels=more))
    gained = shop.samples()["d1-evening"]
    assert (gained["taps"], gained["taps_state"], gained["rate"]) == (0, "pending", None)
    assert shop.samples()["d1-morning"]["rate"] == 0.1

    build(shop.lake, sample_set(features=[]))
    lost = shop.samples()["d1-morning"]
    assert (lost["taps"], lost["rate"], lost["tap"]) == (None, None, 0)


def test_the_days_of_a_build_can_be_chosen(shop: Shop) -> None:
    result = build(shop.lake, sample_set(), days=[day(1), day(9)])
    assert [done.day for done in result.built] == [day(1)]
    assert set(reasons(shop)) == {day(0), day(2)}


def test_a_late_feature_row_never_changes_an_old_sample(shop: Shop) -> None:
    build(shop.lake, sample_set())
    before = shop.samples()
    shop.rate((1, at(7.9, day=1), at(12, day=1), 0.99))
    result = build(shop.lake, sample_set())
    assert day(1) in {done.day for done in result.built}
    assert shop.samples() == before


def test_a_label_goes_from_pending_to_mature_when_the_watermark_passes_its_window(
    shop: Shop,
) -> None:
    shop.tap(("d0-morning", at(8.5), at(8.5), 3), watermark=at(9))
    build(shop.lake, sample_set())
    tapped = shop.samples()["d0-morning"]
    assert (tapped["tap"], tapped["tap_at"], tapped["tap_state"]) == (1, at(8.5), "pending")
    assert tapped["mature_at"] == at(11)  # window 2 h, lateness 1 h

    shop.tap(watermark=at(10))
    assert reasons(shop) == {day(0): "labels matured"}
    build(shop.lake, sample_set())
    states = {name: row["label_state"] for name, row in shop.samples().items()}
    assert states["d0-morning"] == "mature"
    assert states["d0-evening"] == "pending"


def test_a_tap_that_becomes_known_after_maturity_corrects_the_label(shop: Shop) -> None:
    shop.tap(watermark=at(0, day=2))
    build(shop.lake, sample_set())
    assert shop.samples()["d0-morning"]["label_state"] == "mature"
    assert shop.samples()["d0-morning"]["tap"] == 0

    shop.tap(("d0-morning", at(9), at(11), 1), ("d0-evening", at(21), at(22.9), 1))
    build(shop.lake, sample_set())
    samples = shop.samples()
    assert (samples["d0-morning"]["tap"], samples["d0-morning"]["tap_state"]) == (1, "corrected")
    assert (samples["d0-evening"]["tap"], samples["d0-evening"]["tap_state"]) == (1, "mature")


def test_the_window_takes_its_first_instant_and_not_its_last(shop: Shop) -> None:
    shop.tap(("d0-morning", at(8), at(8), 1), ("d0-evening", at(22), at(22), 1))
    shop.tap(("d1-morning", at(7.999, day=1), at(8, day=1), 1))
    build(shop.lake, sample_set())
    taps = {name: row["tap"] for name, row in shop.samples().items()}
    assert (taps["d0-morning"], taps["d0-evening"], taps["d1-morning"]) == (1, 0, 0)


def test_a_label_can_count_or_take_a_column_of_its_first_event(shop: Shop) -> None:
    shop.tap(
        ("d0-morning", at(9), at(9), 5),
        ("d0-morning", at(8.5), at(9.5), 7),
        ("d0-morning", at(8.5), at(9.25), 6),
    )
    labels = [
        {"name": "taps", "stream": "shop.taps", "window": "2h", "value": "count"},
        {"name": "push", "stream": "shop.taps", "window": "2h", "value": "force"},
    ]
    build(shop.lake, sample_set(labels=labels))
    row = shop.samples()["d0-morning"]
    assert (row["taps"], row["push"], row["push_at"]) == (3, 6, at(8.5))
    assert shop.samples()["d0-evening"]["push"] == 0


def test_an_exposure_id_twice_in_a_day_is_refused_by_name(shop: Shop) -> None:
    shop.show(("d1-morning", at(9, day=1), 1))
    with refused(DuplicateExposureError, example="d1-morning", ids=1):
        build(shop.lake, sample_set())
    assert set(shop.samples()) == {"d0-morning", "d0-evening"}  # the day before is complete


def test_a_feature_row_without_known_at_is_refused(shop: Shop) -> None:
    shop.rate((1, at(1, day=1), None, 0.5))
    with refused(NullKnownAtError, table="shop.rates", rows=1):
        build(shop.lake, sample_set(), days=[day(1)])
    assert not shop.lake.table("samples.taps").head().row_count


def test_the_audits_count_nothing_in_a_build_and_something_in_a_planted_leak(shop: Shop) -> None:
    build(shop.lake, sample_set())
    version, settings = shop.lake.table("samples.taps").head(), shop.lake.settings
    assert leaks(version, settings=settings).count == 0
    assert duplicate_ids(version, settings=settings).count == 0
    rows = version.to_arrow().to_pylist()
    rows[0]["rates__known_at"] = rows[0]["event_time"]
    table = shop.lake.table("samples.taps")
    files = write_batches(table, pa.Table.from_pylist(rows, version.schema).to_batches())
    operations.append(table, files, provenance=operations.Provenance())
    assert leaks(table.head(), settings=settings).count == 1
    assert duplicate_ids(table.head(), settings=settings).count == 6


def test_a_declaration_that_the_tables_contradict_says_everything_at_once(shop: Shop) -> None:
    wrong = sample_set(
        exposures={"table": "shop.shown", "id": "shown_id", "entities": ["slot"]},
        features=[{"view": "shop.rates", "columns": ["ratio"]}],
        labels=[{"name": "slot", "stream": "shop.taps", "window": "2h", "value": "strength"}],
    )
    with pytest.raises(DefinitionError) as caught:
        plan_build(shop.lake, wrong)
    text = str(caught.value)
    for part in ("`ratio`", "must list `item`", "`strength`", "another name"):
        assert part in text


def test_a_name_that_was_given_to_another_column_is_a_reason_to_build(shop: Shop) -> None:
    build(shop.lake, sample_set())
    shown = shop.lake.table("shop.shown")
    alter(shown, RenameColumn("slot", to="place"), AddColumn("slot", type=pa.int32()))
    assert reasons(shop) == {}  # the snapshot is what it was, and so are its columns
    shop.show(("new", at(1, day=3), 1))
    built = dict.fromkeys(map(day, range(3)), "other columns in shop.shown")
    assert reasons(shop) == built | {day(3): "never built"}
    build(shop.lake, sample_set())
    assert reasons(shop) == {}


def test_a_column_that_was_dropped_is_read_until_the_next_commit_and_then_refused(
    shop: Shop,
) -> None:
    build(shop.lake, sample_set())
    shown = shop.lake.table("shop.shown")
    alter(shown, DropColumn("slot"))
    assert reasons(shop) == {}
    rows = [{"shown_id": "new", "event_time": at(1, day=3), "item": 1}]
    data = pa.Table.from_pylist(rows, shown.head().schema)
    operations.append(
        shown, write_batches(shown, data.to_batches()), provenance=operations.Provenance()
    )
    with pytest.raises(DefinitionError) as caught:
        plan_build(shop.lake, sample_set())
    assert any("`slot`" in problem for problem in caught.value.problems)


def test_a_column_renamed_since_the_last_commit_is_read_by_its_new_name(shop: Shop) -> None:
    alter(shop.lake.table("shop.shown"), RenameColumn("slot", to="place"))
    exposures = {
        "table": "shop.shown",
        "id": "shown_id",
        "entities": ["item"],
        "columns": ["place"],
    }
    renamed = sample_set(exposures=exposures)
    assert build(shop.lake, renamed).rows == 6
    alter(shop.lake.table("shop.shown"), RenameColumn("place", to="rank"))
    publish(shop.lake, renamed, allow_pending=True)
    assert rebuild(shop.lake, "taps").reproduced


def test_a_plan_is_made_of_one_state_of_each_table(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = plan_build(shop.lake, sample_set())
    head = LakeTable.head

    def head_and_then_it_changes(table: LakeTable) -> TableVersion:
        found = head(table)
        if table.name == TableName("shop", "rates"):
            with monkeypatch.context() as calm:
                calm.setattr(LakeTable, "head", head)
                Shop.open(shop.lake, ttl=dt.timedelta(hours=1))
                shop.rate((1, at(6), at(6), 0.9))
        return found

    monkeypatch.setattr(LakeTable, "head", head_and_then_it_changes)
    planned = plan_build(shop.lake, sample_set())
    assert (planned.recipe, planned.pinned) == (before.recipe, before.pinned)
    build(shop.lake, sample_set())
    monkeypatch.undo()
    inputs = shop.lake.registry.commits("samples.taps")[0].inputs
    assert inputs["shop.rates"] != shop.lake.table("shop.rates").head().snapshot_id


def test_a_flipped_bit_of_an_input_stops_a_build_and_is_named(shop: Shop) -> None:
    path = Path(shop.lake.table("shop.rates").head().files()[0].path)
    content = bytearray(path.read_bytes())
    content[60] ^= 1
    path.write_bytes(content)
    with pytest.raises(CorruptFileError) as found:
        build(shop.lake, sample_set())
    assert found.value.path == str(path)
    assert shop.lake.table("samples.taps").head().snapshot_id is None


def test_sample_files_are_uncompressed_until_their_owner_says_otherwise(shop: Shop) -> None:
    def codecs() -> dict[object, str]:
        files = shop.lake.table("samples.taps").head().files()
        chunks = {f.partition[0]: pq.read_metadata(f.path).row_group(0).column(0) for f in files}
        return {day_: chunk.compression for day_, chunk in chunks.items()}

    build(shop.lake, sample_set())
    assert set(codecs().values()) == {"UNCOMPRESSED"}
    with shop.lake.table("samples.taps").iceberg().transaction() as change:
        change.set_properties({COMPRESSION_CODEC: "zstd"})
    shop.show(("d1-late", at(9, day=1), 1))
    build(shop.lake, sample_set())
    assert codecs()[day(1)] == "ZSTD"
    assert codecs()[day(0)] == "UNCOMPRESSED"
