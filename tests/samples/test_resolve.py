"""What a sample set leaves to its tables."""

import pyarrow as pa

from headrace.definitions.stream import COORDINATES
from headrace.identifiers import TableName
from headrace.samples.resolve import resolve
from tests.samples.factories import TAPS, Shop, sample_set
from tests.tables.factories import name_coordinates_as_before


def test_ties_are_broken_by_row_coordinates_by_their_former_names_too(shop: Shop) -> None:
    table = shop.lake.create(TableName("shop", "swipes"), pa.schema([*TAPS, *COORDINATES]))
    label = {"name": "swipe", "stream": "shop.swipes", "window": "2h"}

    def order() -> tuple[str, ...]:
        return resolve(shop.lake, sample_set(labels=[label])).labels[0].order

    assert order() == ("_source", "_source_partition", "_source_offset")
    name_coordinates_as_before(table)
    assert order() == ("_source", "_partition", "_offset")
