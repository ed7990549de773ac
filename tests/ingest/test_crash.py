"""Kill -9 at every write boundary: after a restart nothing is lost and nothing is there twice."""

import pytest

from headrace.api import Lake
from headrace.crash_points import CRASH_POINTS
from headrace.definitions.stream import Stream
from headrace.ingest.run import ingest
from headrace.ingest.status import status
from tests.ingest.factories import audit, dead_of, make_stream, rows_of, write_things
from tests.ingest.processes import exit_code, start_ingester

pytestmark = pytest.mark.slow

KINDS = ["good", "good", "missing", "good", "a naive time", "good"] * 3
# `ingest.after_seal` needs many files: `test_positions.py`
POINTS = [
    point
    for point in CRASH_POINTS
    if point.startswith(("ingest.", "commit.")) and point != "ingest.after_seal"
]

# of a batch with dead letters: theirs is the first commit, that of the rows the second
ONE_BATCH = [
    *((point, 1) for point in POINTS),
    *((point, 2) for point in POINTS if point.startswith("commit.")),
]


@pytest.mark.parametrize("passage", [1, 4])  # of commits, odd ones are the dead letters'
@pytest.mark.parametrize("point", POINTS)
def test_a_killed_ingester_goes_on_without_loss_or_double(
    lake: Lake, point: str, passage: int
) -> None:
    stream = make_stream("json")
    for name in ("a", "b"):
        write_things(lake.settings.data_dir, name, KINDS, format_="json")
    killed = start_ingester(lake.settings, stream, rows_per_commit=2, crash_at=f"{point}:{passage}")
    assert exit_code(killed) == -9, "the crash point was never passed"

    ingest(lake, stream, rows_per_commit=5)
    _complete(lake, stream, files=2)
    assert ingest(lake, stream).commits == 0
    assert status(lake, stream).sources_waiting == ()


@pytest.mark.parametrize(("point", "passage"), ONE_BATCH)
def test_of_files_that_share_a_commit_all_or_none_are_taken(
    lake: Lake, point: str, passage: int
) -> None:
    stream = make_stream("json")
    for name in ("a", "b", "c"):
        write_things(lake.settings.data_dir, name, KINDS, format_="json")
    killed = start_ingester(
        lake.settings, stream, rows_per_commit=1_000, crash_at=f"{point}:{passage}"
    )
    assert exit_code(killed) == -9, "the crash point was never passed"
    is_in = passage == 2 and point in ("commit.after_swap", "commit.after_record")
    assert rows_of(lake, stream).num_rows == (3 * KINDS.count("good") if is_in else 0)

    again = ingest(lake, stream)
    assert again.commits == (0 if is_in else 1)
    _complete(lake, stream, files=3)
    assert ingest(lake, stream).commits == 0


def test_an_ingester_killed_again_and_again_still_ends_complete(lake: Lake) -> None:
    stream = make_stream("csv")
    for name in ("a", "b", "c"):
        write_things(lake.settings.data_dir, name, KINDS, format_="csv")
    codes: list[int | None] = []
    for point in POINTS:
        process = start_ingester(lake.settings, stream, rows_per_commit=2, crash_at=f"{point}:2")
        codes.append(exit_code(process))
    assert codes.count(-9) >= 3
    ingest(lake, stream)
    _complete(lake, stream, files=3)


def test_a_contract_that_forgives_a_dead_letter_after_the_crash_does_not_double_it(
    lake: Lake,
) -> None:
    stream = make_stream("json", version=1)
    kinds = ["good", "a number for text", "text for a number", "good"]
    write_things(lake.settings.data_dir, "a", kinds, format_="json")
    killed = start_ingester(
        lake.settings, stream, rows_per_commit=9, crash_at="ingest.after_dead_letters"
    )
    assert exit_code(killed) == -9
    fields = stream.model_dump(mode="json")["fields"]
    del fields["n"]
    forgiving = Stream.model_validate(
        stream.model_dump(mode="json", exclude_none=True) | {"fields": fields, "version": 2}
    )
    ingest(lake, forgiving)
    assert audit(lake, forgiving) == {"things/a.jsonl": 4}
    assert dead_of(lake, forgiving).num_rows == 2


def _complete(lake: Lake, stream: Stream, *, files: int) -> None:
    taken = audit(lake, stream)
    assert list(taken.values()) == [len(KINDS)] * files
    assert rows_of(lake, stream).num_rows == files * KINDS.count("good")
    assert dead_of(lake, stream).num_rows == files * (len(KINDS) - KINDS.count("good"))
