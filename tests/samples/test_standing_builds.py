"""A day on record is left alone only if the table still holds what that build wrote."""

from headrace.datasets.publish import publish
from headrace.dml.delete import delete_where
from headrace.errors import PublishReason, PublishRefusedError
from headrace.samples.build import apply_build, build
from headrace.samples.plan import day_text, plan_build
from headrace.tables.commits.operations import Provenance
from tests.raising import refused
from tests.samples.factories import Shop, at, day, sample_set


def test_of_two_builds_at_once_the_older_one_does_not_stay(shop: Shop) -> None:
    older = plan_build(shop.lake, sample_set(), days=[day(0)])
    shop.rate((1, at(7.5), at(7.5), 9.0))
    apply_build(shop.lake, plan_build(shop.lake, sample_set(), days=[day(0)]))
    newer = shop.lake.registry.builds("samples.taps")[day_text(day(0))]
    apply_build(shop.lake, older)
    shop.lake.registry.record_builds([newer])  # its process was paused between commit and record
    assert shop.samples()["d0-morning"]["rate"] == 0.0

    result = build(shop.lake, sample_set(), days=[day(0)])

    assert [done.reason for done in result.built] == ["samples changed"]
    assert shop.samples()["d0-morning"]["rate"] == 9.0
    assert not plan_build(shop.lake, sample_set(), days=[day(0)])


def test_builds_of_a_table_that_was_dropped_say_nothing_of_the_next_one(shop: Shop) -> None:
    build(shop.lake, sample_set())
    before = shop.samples()
    shop.lake.catalog.drop_table(("samples", "taps"))
    build(shop.lake, sample_set(), days=[day(1)])

    build(shop.lake, sample_set())

    assert shop.samples().keys() == before.keys()
    assert not plan_build(shop.lake, sample_set())


def test_rows_that_were_deleted_from_samples_come_back_and_can_be_published(shop: Shop) -> None:
    shop.tap(watermark=at(0, day=9))
    build(shop.lake, sample_set())
    before = shop.samples()
    delete_where(
        shop.lake.table("samples.taps"), "sample_id = 'd1-morning'", provenance=Provenance()
    )

    build(shop.lake, sample_set())

    assert shop.samples() == before
    assert publish(shop.lake, sample_set()).lock.rows == len(before)


def test_a_range_with_a_day_that_was_never_built_is_not_published_without_it(shop: Shop) -> None:
    shop.tap(watermark=at(0, day=9))
    build(shop.lake, sample_set(), days=[day(0), day(2)])
    with refused(PublishRefusedError, reason=PublishReason.BUILD_UNKNOWN, days=(str(day(1)),)):
        publish(shop.lake, sample_set(), first_day=day(0), last_day=day(2))
    assert publish(shop.lake, sample_set(), first_day=day(2)).lock.rows == 2
