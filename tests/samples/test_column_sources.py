"""Where the columns of a sample come from, by its recipe alone."""

from dataclasses import replace

from headrace.samples.column_sources import column_sources
from headrace.samples.resolve import ResolvedLabel
from tests.ui.factories import RECIPE


def test_each_column_of_a_recipe_names_its_table_and_column() -> None:
    label = ResolvedLabel(
        name="click", table="staging.clicks", key="impression_id", value="exists",
        window_us=1, lateness_us=1, order=(),
    )  # fmt: skip
    paid = replace(label, name="paid", value="price")
    found = column_sources(replace(RECIPE, labels=(label, paid)))
    assert {(each.column, each.table, each.of) for each in found} == {
        ("sample_id", "staging.impressions", "impression_id"),
        ("event_time", "staging.impressions", "event_time"),
        ("item_id", "staging.impressions", "item_id"),
        ("recent", "staging.impressions", "recent"),
        ("ctr_1d", "features.item_ctr", "ctr_1d"),
        ("click", "staging.clicks", "event_time"),
        ("paid", "staging.clicks", "price"),
    }
    assert {each.how for each in found} == {"exposure", "as known then", "label", "label: exists"}
