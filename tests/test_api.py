"""The names people use from Python."""

import headrace as hr
from headrace.errors import DatasetNotFoundError
from tests.raising import refused
from tests.tables.factories import add, events_table


def test_opening_a_lake_gives_the_public_handle(settings: hr.Settings) -> None:
    with hr.Lake.open(settings) as lake:
        assert type(lake) is hr.Lake
        add(events_table(lake), [1, 2, 3])
        head = lake.table("raw.events").head()
        assert lake.table("raw.events").at(snapshot_id=head.snapshot_id).row_count == 3


def test_a_dataset_that_is_not_published_is_an_error_of_the_lake(settings: hr.Settings) -> None:
    with (
        hr.Lake.open(settings) as lake,
        refused(DatasetNotFoundError, dataset="ctr", version=1, known=()),
    ):
        lake.dataset("ctr", version=1)
    assert issubclass(DatasetNotFoundError, hr.LakeError)
