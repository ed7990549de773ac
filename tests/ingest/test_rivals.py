"""Two ingesters of one stream: whoever loses is fenced, and no record comes twice."""

import time

import pytest

from headrace.api import Lake
from headrace.ingest.run import ingest
from tests.ingest.factories import audit, make_stream, rows_of, write_things
from tests.ingest.processes import FENCED, exit_code, start_ingester

pytestmark = pytest.mark.slow

KINDS = ["good", "missing", "good"] * 4


def test_two_ingesters_at_once_never_write_a_record_twice(lake: Lake) -> None:
    stream = make_stream("json")
    rounds = 3
    for turn in range(rounds):
        for part in range(4):
            write_things(lake.settings.data_dir, f"{turn}{part}", KINDS, format_="json")
        begin = time.time() + 0.5
        rivals = [
            start_ingester(lake.settings, stream, rows_per_commit=rows, begin=begin)
            for rows in (3, 4)
        ]
        codes = [exit_code(rival) for rival in rivals]
        assert set(codes) <= {0, FENCED}
        assert 0 in codes, "one of the two must get through"
    ingest(lake, stream)
    assert sum(audit(lake, stream).values()) == rounds * 4 * len(KINDS)
    assert rows_of(lake, stream).num_rows == rounds * 4 * KINDS.count("good")
