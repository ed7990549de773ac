"""How far a label table is complete, when what said so has expired or was taken back."""

import pyarrow as pa

from headrace.datasets.publish import publish
from headrace.datasets.rebuild import rebuild
from headrace.definitions.properties import WATERMARK
from headrace.identifiers import TableName
from headrace.samples.build import build
from headrace.samples.watermarks import watermark_us
from headrace.tables.commits import operations
from headrace.tables.commits.operations import Fence, Provenance
from headrace.tables.writer import write_batches
from tests.samples.factories import TAPS, Shop, at, sample_set

LABELS = [{"name": "tap", "stream": "shop.clean_taps", "window": "2h"}]


def us(moment: object) -> int:
    return int(pa.scalar(moment, pa.timestamp("us", tz="UTC")).value)


def clean(shop: Shop) -> None:
    """Compute a table of labels from the taps as they are now, as a model does."""
    taps = shop.lake.table("shop.taps").head()
    table = shop.lake.create(
        TableName("shop", "clean_taps"), TAPS, partition_by=["day(event_time)"]
    )
    assert taps.snapshot_id is not None
    provenance = Provenance(inputs={"shop.taps": taps.snapshot_id})
    files = write_batches(table, taps.to_arrow().to_batches())
    operations.overwrite(table, files, provenance=provenance)


def test_labels_stay_mature_when_the_commit_they_were_computed_from_has_expired(shop: Shop) -> None:
    shop.tap(("d0-morning", at(8.5), at(8.5), 1), watermark=at(0, day=5))
    clean(shop)
    build(shop.lake, sample_set(labels=LABELS))
    mature = shop.samples()
    assert {row["label_state"] for row in mature.values()} == {"mature"}
    for hour in range(3):
        shop.tap(watermark=at(hour, day=6))
    taps = shop.lake.table("shop.taps")
    assert operations.expire(taps, keep=1, before_ms=shop.lake.now_ms() + 1)

    assert watermark_us(shop.lake, shop.lake.table("shop.clean_taps").head()) == us(at(0, day=5))
    shop.show(("d0-late", at(9), 1))
    build(shop.lake, sample_set(labels=LABELS))
    assert {row["label_state"] for row in shop.samples().values()} == {"mature"}
    assert publish(shop.lake, sample_set(labels=LABELS)).lock.rows == len(mature) + 1
    assert rebuild(shop.lake, "taps").reproduced


def test_a_stream_that_begins_again_is_not_as_complete_as_it_was_before(shop: Shop) -> None:
    shop.tap(("d0-morning", at(8.5), at(8.5), 1), watermark=at(0, day=5))
    taps = shop.lake.table("shop.taps")
    fence = Fence(key="taps", expected={}, offsets={})
    operations.start_over(taps, fence=fence, provenance=Provenance(), properties={WATERMARK: None})

    build(shop.lake, sample_set())

    assert watermark_us(shop.lake, taps.head()) is None
    assert {row["tap_state"] for row in shop.samples().values()} == {"pending"}
