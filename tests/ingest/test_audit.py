"""The audit says `exact` where every offset is there once, and names whatever was tampered with."""

from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc
import pytest
import sqlglot

from headrace.api import Lake
from headrace.dml.delete import delete_where
from headrace.ingest import positions
from headrace.ingest.absent import Offsets
from headrace.ingest.audit import Audit, plan_audit, run_audit
from headrace.ingest.audit_sql import EXACT, Consumed, statement
from headrace.ingest.drop import apply_drop, plan_drop
from headrace.ingest.letters import Choice
from headrace.ingest.replay import replay
from headrace.ingest.run import ingest
from headrace.ingest.sources.base import SourcePartition
from headrace.tables.commits.operations import Provenance, append
from headrace.tables.writer import write_batches
from tests.ingest.factories import json_line, make_stream, rows_of, write_things
from tests.ingest.log_source import Entry, Log, LogSource
from tests.ingest.test_replay import KINDS, NOW, STRICT, _replay
from tests.processes import exit_code, start

pytestmark = pytest.mark.slow

STREAM = make_stream("json")


def audited(lake: Lake) -> Audit:
    return run_audit(lake, plan_audit(lake, STREAM))


def verdicts(lake: Lake) -> dict[tuple[str, int], str]:
    return {(each.source, each.partition): each.verdict for each in audited(lake).partitions}


def topic() -> LogSource:
    """Partitions with good and bad records, with holes, of holes only, and never written."""
    lines = {at: json_line(id=f"{at}") if at % 3 else b"{" for at in range(40)}
    return LogSource(
        {
            0: Log(entries=[Entry(at, lines[at]) for at in range(10)], end=10),
            1: Log(entries=[Entry(at, lines[at]) for at in (3, 4, 9, 10, 11)], end=20),
            2: Log(entries=(), end=3),
            3: Log(entries=(), end=0),
        }
    )


def test_a_log_with_holes_is_exact_whatever_its_partitions_hold(lake: Lake) -> None:
    log = topic()
    for _ in range(3):
        ingest(lake, STREAM, source=log, rows_per_commit=2)
        found = audited(lake)
        assert found.error() is None
        log.grow(1, [json_line(id="more"), b"{"])
    by_partition = {each.partition: each for each in found.partitions}
    assert set(by_partition) == {0, 1, 2}
    first = by_partition[0]
    assert (first.consumed, first.rows, first.dead_letters, first.absent) == (10, 6, 4, 0)
    assert (by_partition[1].consumed, by_partition[1].absent) == (24, 15)
    assert (by_partition[2].consumed, by_partition[2].absent) == (3, 3)


def test_files_are_audited_with_those_that_the_ledger_sealed(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(positions, "OPEN_MAX", 2)
    for at in range(6):
        write_things(lake.settings.data_dir, f"{at}", KINDS, format_="json")
    ingest(lake, STREAM)
    assert verdicts(lake) == {(f"things/{at}.jsonl", 0): EXACT for at in range(6)}


def double(lake: Lake) -> None:
    table = lake.table(STREAM.table)
    again = rows_of(lake, STREAM).slice(0, 1).combine_chunks().to_batches()
    append(table, write_batches(table, again), provenance=Provenance())


def swap(lake: Lake) -> None:
    """Replace one record by a copy of it that claims another partition's free offset."""
    table = lake.table(STREAM.table)
    rows = rows_of(lake, STREAM)
    one = rows.filter(
        pc.and_(pc.equal(rows["_source_partition"], 1), pc.equal(rows["_source_offset"], 4))
    )
    at = one.schema.get_field_index("_source_offset")
    other = one.set_column(at, one.schema.field(at), pa.array([15], pa.int64()))
    delete_where(table, "_source_partition = 1 and _source_offset = 4", provenance=Provenance())
    append(table, write_batches(table, other.to_batches()), provenance=Provenance())


def invent(lake: Lake) -> None:
    table = lake.table(STREAM.table)
    one = rows_of(lake, STREAM).slice(0, 1)
    at = one.schema.get_field_index("_source_offset")
    other = one.set_column(at, one.schema.field(at), pa.array([77], pa.int64()))
    append(table, write_batches(table, other.to_batches()), provenance=Provenance())


def lose_a_row(lake: Lake) -> None:
    where = "_source_partition = 0 and _source_offset = 4"
    delete_where(lake.table(STREAM.table), where, provenance=Provenance())


def lose_a_letter(lake: Lake) -> None:
    where = "_source_partition = 0 and _source_offset = 3"
    delete_where(lake.table("dead_letters.records"), where, provenance=Provenance())


@pytest.mark.parametrize(
    ("tamper", "wrong"),
    [
        (double, "1 offsets more than once"),
        (lose_a_row, "1 offsets missing"),
        (lose_a_letter, "1 offsets missing"),
        (invent, "offset 77 was never consumed"),
        (swap, "other offsets than those consumed"),
    ],
)
def test_what_was_tampered_with_is_named(
    lake: Lake, tamper: Callable[[Lake], None], wrong: str
) -> None:
    ingest(lake, STREAM, source=topic())
    tamper(lake)
    found = audited(lake)
    assert [each.verdict for each in found.wrong] == [wrong]
    error = found.error()
    assert error is not None
    assert wrong in error.findings[0]


def test_letters_ahead_of_their_rows_replays_cut_short_and_drops_are_exact(lake: Lake) -> None:
    write_things(lake.settings.data_dir, "a", KINDS, format_="json")
    ingest(lake, STRICT)
    ingest(lake, NOW)
    for point in ("replay.after_rows", "replay.after_letters"):
        assert exit_code(start(_replay, lake.settings, NOW, crash_at=point)) in (-9, 0)
        assert verdicts(lake) == {("things/a.jsonl", 0): EXACT}
    replay(lake, NOW)
    assert apply_drop(lake, plan_drop(lake, NOW, choice=Choice()), NOW) == 1
    (found,) = audited(lake).partitions
    assert (found.rows, found.dead_letters, found.absent, found.verdict) == (4, 0, 1, EXACT)


def test_the_statement_is_read_by_other_engines_and_quotes_names() -> None:
    consumed = [
        Consumed(SourcePartition("it's/a.jsonl"), 10**18, Offsets(2, 5)),
        Consumed(SourcePartition("topic", 7), 3, Offsets()),
    ]
    for letters in (None, "iceberg.dead_letters.records"):
        for replay_is_open in (False, True):
            text = statement(
                STREAM, consumed, rows="iceberg.raw.things", letters=letters,
                replay_is_open=replay_is_open,
            )  # fmt: skip
            for engine in ("trino", "duckdb", "spark"):
                (parsed,) = sqlglot.parse(text, read=engine)
                assert parsed is not None
            assert "'it''s/a.jsonl'" in text
