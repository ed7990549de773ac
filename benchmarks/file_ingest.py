"""Claim: files cost at most twice the CPU of reading and writing them, and bad lines little more.

A simulated week of a million impressions, in JSON, CSV and Parquet files, is ingested from nothing. Its
limit decodes the same files with pyarrow, without malformed records, and writes one Parquet file a stream
(`river_limits`). Beside it the same week with one JSON line in a hundred malformed, in four ways.
"""

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from benchmarks.harness import Contender, Measured, Result, Rounds, Spent, measure, show

IMPRESSIONS, FILES = 1_000_000, 24
RATIO_MAX = 2.0
FAULTY_RATIO_MAX = 1.3
_BAD_EVERY = 100


def limit(*, week: str, folder: str) -> Rounds:
    """Decode and write, once a round; see `river_limits`."""
    from benchmarks.river_limits import ingest

    yield {}
    for number in range(1_000):
        place = Path(folder) / str(number)
        place.mkdir()
        rounds = ingest(lake=week, folder=str(place))
        next(rounds)
        spent = Spent()
        found = next(rounds)
        yield {**found, **spent.figures()}
        shutil.rmtree(place)


def headrace(*, week: str, folder: str) -> Rounds:
    """Ingest the week into a lake of its own, once a round; see `river_stages`."""
    from benchmarks.river_stages import ingest

    yield {}
    for number in range(1_000):
        place = Path(folder) / str(number)
        shutil.copytree(week, place)
        rounds = ingest(lake=str(place), folder=folder)
        next(rounds)
        spent = Spent()
        found = next(rounds)
        yield {**found, **spent.figures()}
        rounds.close()
        shutil.rmtree(place)


def damage(week: Path) -> int:
    """Make one JSON line in a hundred of a week malformed; return how many."""
    kinds = (
        lambda line: line[: len(line) // 2],
        lambda line: b"[" + line + b"]",
        lambda line: line.replace(b'"user_id":', b'"user_id":"x'),
        lambda line: line[:20] + b"\xff\xfe" + line[20:],
    )
    count = 0
    for file in sorted((week / "data").glob("*/*.jsonl")):
        lines = file.read_bytes().splitlines()
        for at in range(_BAD_EVERY - 1, len(lines), _BAD_EVERY):
            lines[at] = kinds[count % len(kinds)](lines[at])
            count += 1
        file.write_bytes(b"".join(line + b"\n" for line in lines))
    return count


def run(*, quick: bool = False) -> list[Result]:
    """Measure all on one week that is simulated first; `quick` takes one of 20,000 impressions."""
    from headrace.simulate.plan import SimulationPlan
    from headrace.simulate.run import simulate

    plan = SimulationPlan(
        impressions=20_000 if quick else IMPRESSIONS, seed=1, files_per_stream=FILES
    )
    with tempfile.TemporaryDirectory(prefix="headrace-files-") as made:
        week, faulty = Path(made) / "week", Path(made) / "faulty"
        simulate(week, plan)
        shutil.copytree(week, faulty)
        bad = damage(faulty)
        contenders = [
            Contender(name=name, module=__name__, function=function, arguments={"week": str(place)})
            for name, function, place in (
                ("limit", "limit", week),
                ("clean", "headrace", week),
                ("faulty", "headrace", faulty),
            )
        ]
        found = measure(contenders, rounds=1 if quick else 3)
    refused = found["faulty"].figure("dead_letters") - found["clean"].figure("dead_letters")
    if not 0.9 * bad < refused <= bad:
        msg = f"{bad} more lines are malformed, and {refused:.0f} more were refused"
        raise RuntimeError(msg)
    return results_of(found)


def results_of(found: Mapping[str, Measured]) -> list[Result]:
    """Compare, and show."""
    cpu_s = {name: each.figure("cpu_s") for name, each in found.items()}
    show(
        "a week of files",
        [
            {
                "": name,
                "CPU s": cpu_s[name],
                "wall s": each.figure("wall_s"),
                "rows": int(each.figure("rows")),
                "peak MiB": each.peak_rss_mib,
            }
            for name, each in found.items()
        ],
    )
    ratio, faulty = cpu_s["clean"] / cpu_s["limit"], cpu_s["faulty"] / cpu_s["clean"]
    return [
        Result(
            claim="file_ingest",
            value=cpu_s["clean"],
            unit=f"CPU s of {found['clean'].figure('rows'):,.0f} rows",
            peer=f"pyarrow decode of the same files and one Parquet write, {cpu_s['limit']:.2f} s",
            ratio=ratio,
            target=f"ratio <= {RATIO_MAX}",
            holds=ratio <= RATIO_MAX,
        ),
        Result(
            claim="file_ingest_faults",
            value=cpu_s["faulty"],
            unit="CPU s, one JSON line in a hundred malformed",
            peer=f"the clean files, {cpu_s['clean']:.2f} s",
            ratio=faulty,
            target=f"ratio <= {FAULTY_RATIO_MAX}",
            holds=faulty <= FAULTY_RATIO_MAX,
        ),
    ]
