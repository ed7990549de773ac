"""What the days of a sample table hold, counted, and examples of them."""

from headrace.samples.build import build
from headrace.samples.by_day import SampleDays, sample_days
from tests.samples.factories import Shop, at, day, sample_set


def test_days_count_positives_pending_labels_and_samples_without_a_row(shop: Shop) -> None:
    shop.show(("d9", at(8, day=9), 1), ("nothing", at(8, day=9), 7))
    shop.tap(("d1-morning", at(9, day=1), at(9, day=1), 1), watermark=at(12, day=1))
    build(shop.lake, sample_set())
    version = shop.lake.table(sample_set().table).head()
    found = sample_days(shop.lake, version)
    by_day = {each.day: each for each in found.days}
    assert list(by_day) == sorted(by_day)
    assert sum(each.rows for each in found.days) == version.row_count
    first, last = by_day[day(1)], by_day[day(9)]
    assert first.positives == {"tap": 1}
    assert last.rows == 2
    assert last.pending == {"tap": 2}
    assert last.without_row == {"shop.rates": 2}  # one expired, one unknown
    assert found.examples[0].sample_id == "d1-morning"
    assert [each.positive for each in found.examples] == sorted(
        (each.positive for each in found.examples), reverse=True
    )


def test_only_the_newest_days_are_read(shop: Shop) -> None:
    build(shop.lake, sample_set())
    version = shop.lake.table(sample_set().table).head()
    every = sample_days(shop.lake, version)
    found = sample_days(shop.lake, version, days_max=1, examples=1)
    assert found.days == every.days[-1:]
    assert len(found.examples) == 1


def test_a_table_that_is_no_sample_table_has_no_days(shop: Shop) -> None:
    assert sample_days(shop.lake, shop.lake.table("shop.rates").head()) == SampleDays()
