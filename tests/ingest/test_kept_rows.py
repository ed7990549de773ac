"""What was ingested is not taken back while a job keeps the rows in Paimon too."""

import pytest

from headrace.api import Lake
from headrace.definitions.properties import RESET_PREFIX, RETRY_PREFIX
from headrace.definitions.stream import Stream
from headrace.errors import KeyedRowsError
from headrace.ingest.owner import FLINK, Owner
from headrace.ingest.reset import apply_reset, plan_reset
from headrace.ingest.retry import apply_retry, apply_skip
from headrace.ingest.run import ingest
from headrace.tables.commits.operations import move_properties
from tests.ingest.factories import make_stream, rows_of, write_things
from tests.raising import refused

SUBJECT = "paimon:raw.things"


@pytest.fixture
def kept(lake: Lake) -> Stream:
    """A stream with a file that was taken, whose rows a job keeps in Paimon."""
    stream = make_stream("csv")
    write_things(lake.settings.data_dir, "a", ["good", "good"], format_="csv")
    ingest(lake, stream)
    note = Owner(by=FLINK, epoch=1).note(stream=SUBJECT)
    move_properties(lake.table(stream.table), lambda _: dict(note))
    return stream


def test_a_stream_is_not_reset(lake: Lake, kept: Stream) -> None:
    for act in (plan_reset, apply_reset):
        with refused(KeyedRowsError, subject=SUBJECT):
            act(lake, kept)
    assert RESET_PREFIX + kept.name not in lake.table(kept.table).head().properties
    assert rows_of(lake, kept).num_rows == 2


def test_a_file_is_not_taken_again(lake: Lake, kept: Stream) -> None:
    with refused(KeyedRowsError, subject=SUBJECT):
        apply_retry(lake, kept, "things/a.csv")
    assert RETRY_PREFIX + kept.name not in lake.table(kept.table).head().properties
    assert rows_of(lake, kept).num_rows == 2
    apply_skip(lake, kept, "things/a.csv")  # what was taken stays
