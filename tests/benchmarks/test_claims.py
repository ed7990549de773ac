"""What benchmarks compare is comparable: both sides handle the same rows."""

from pathlib import Path

from benchmarks import file_gzip, file_writer, merge, river_limits, river_stages
from benchmarks.harness import Contender, measure
from benchmarks.run import claims
from headrace.simulate.plan import SimulationPlan
from headrace.simulate.run import simulate

ROWS = 3_000


def test_both_file_writers_write_every_row_into_two_days() -> None:
    contenders = [
        Contender(name=name, module=file_writer.__name__, function=name, arguments={"rows": ROWS})
        for name in ("headrace", "duckdb_copy")
    ]
    for measured in measure(contenders, rounds=1).values():
        assert measured.figure("rows") == ROWS
        assert measured.figure("files") == 2


def test_both_readers_of_a_gzip_take_every_row(tmp_path: Path) -> None:
    file = tmp_path / "impressions.csv.gz"
    file_gzip.write(file, rows=ROWS)
    contenders = [
        Contender(
            name=name,
            module=file_gzip.__name__,
            function=name,
            arguments={"rows": ROWS, "file": str(file)},
        )
        for name in ("headrace", "pyarrow_csv")
    ]
    for measured in measure(contenders, rounds=2).values():
        assert measured.figure("rows") == ROWS


def test_a_stage_and_its_limit_take_the_same_rows_from_the_same_files(tmp_path: Path) -> None:
    lake = tmp_path / "week"
    written = simulate(lake, SimulationPlan(impressions=ROWS, seed=3, files_per_stream=2))
    sound = sum(counts.records - counts.malformed for counts in written.counts.values())
    contenders = [
        Contender(
            name=module.__name__,
            module=module.__name__,
            function="ingest",
            arguments={"lake": str(lake)},
        )
        for module in (river_limits, river_stages)
    ]
    for measured in measure(contenders, rounds=1).values():
        assert measured.figure("rows") == sound


def test_both_mergers_leave_the_same_rows() -> None:
    contenders = [
        Contender(name=name, module=merge.__name__, function=name, arguments={"keys": 40})
        for name in ("headrace", "pyiceberg")
    ]
    ours, plain = measure(contenders, rounds=1).values()
    merge.refuse_differences(ours, plain)
    assert (ours.figure("rows"), ours.figure("changed")) == (merge.ROWS + 20, 40)


def test_helpers_of_a_benchmark_are_no_claims() -> None:
    assert {"river", "file_writer"} <= set(claims())
    assert not {"harness", "kafka_topics", "run", "river_limits", "river_stages"} & set(claims())
