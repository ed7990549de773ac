"""The written folder as a whole: bytes, memory, rates, order, declarations."""

import hashlib
import json
import math
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from headrace.config import Settings
from headrace.definitions.load import inspect_declarations
from headrace.errors import FolderNotEmptyError
from headrace.simulate.plan import SimulationPlan
from headrace.simulate.run import Simulation, simulate
from tests.simulate.landed import TIMES, Record, records

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
DIGEST = "f75117916581984d96823b3f3f5d690111ab7bc0daff371138d65a5b021d71be"
IDS = {"impressions": "impression_id", "clicks": "click_id", "watches": "watch_id"}


def _bytes(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def simulation(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    folder = tmp_path_factory.mktemp("simulated") / "lakehouse"
    return simulate(folder, SimulationPlan(impressions=60_000, seed=11, days=3))


@pytest.fixture(scope="module")
def landed(simulation: Simulation) -> dict[str, list[Record]]:
    return {stream: list(records(simulation.folder, stream)) for stream in TIMES}


def test_the_same_plan_gives_the_same_bytes(tmp_path: Path) -> None:
    plan = SimulationPlan(impressions=5_000, seed=3, days=2)
    simulate(tmp_path / "one", plan)
    simulate(tmp_path / "two", plan)
    assert _bytes(tmp_path / "one") == _bytes(tmp_path / "two")


def test_another_seed_gives_another_log(tmp_path: Path) -> None:
    for seed in (1, 2):
        simulate(tmp_path / str(seed), SimulationPlan(impressions=500, seed=seed, days=1))
    one, two = _bytes(tmp_path / "1"), _bytes(tmp_path / "2")
    assert one["lake/lake.toml"] == two["lake/lake.toml"]
    assert one["truth/impressions.parquet"] != two["truth/impressions.parquet"]


def test_these_bytes_are_the_same_on_every_machine(tmp_path: Path) -> None:
    """Change the digest only with the model: an upgrade or a processor must not change it."""
    simulate(tmp_path / "lake", SimulationPlan(impressions=5_000, seed=3, days=2))
    digest = hashlib.sha256()
    for name, content in _bytes(tmp_path / "lake" / "data").items():
        if not name.endswith(".parquet"):  # its footer names the version of its writer
            digest.update(name.encode() + b"\0" + content)
    assert digest.hexdigest() == DIGEST


@pytest.mark.slow
def test_memory_does_not_grow_with_the_run(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from benchmarks.harness import peak_rss_mib\n"
        "from headrace.simulate.plan import SimulationPlan\n"
        "from headrace.simulate.run import simulate\n"
        "plan = SimulationPlan(impressions=int(sys.argv[2]), seed=1, days=int(sys.argv[3]))\n"
        "simulate(Path(sys.argv[1]), plan)\n"
        "print(int(peak_rss_mib()))\n"
    )
    peaks_mib, data_mib = [], []
    for days in (2, 7):
        folder = tmp_path / str(days)
        command = [sys.executable, "-c", script, str(folder), str(60_000 * days), str(days)]
        done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
        peaks_mib.append(int(done.stdout))
        data_mib.append(sum(len(content) for content in _bytes(folder / "data").values()) >> 20)
    assert data_mib[1] - data_mib[0] > 80
    assert peaks_mib[1] - peaks_mib[0] < 60


def test_every_impression_asked_for_is_there_once(simulation: Simulation) -> None:
    counts = simulation.counts["impressions"]
    assert counts.distinct + counts.malformed == 60_000
    truth = pq.read_table(simulation.folder / "truth" / "impressions.parquet")
    assert truth.num_rows == counts.distinct
    assert len(set(truth.column("impression_id").to_pylist())) == counts.distinct


def test_rates_are_within_what_chance_allows(simulation: Simulation) -> None:
    for stream in TIMES:
        counts = simulation.counts[stream]
        events = counts.distinct + counts.malformed
        assert counts.records == counts.distinct + counts.duplicates + counts.malformed
        _assert_share(counts.duplicates, counts.distinct, rate=0.02)
        _assert_share(counts.malformed, events, rate=0.001)
        if stream != "user_state":  # its revisions are late on purpose
            _assert_share(counts.late, counts.distinct, rate=0.05)


def _assert_share(found: int, events: int, *, rate: float) -> None:
    spread = math.sqrt(events * rate * (1 - rate))
    assert abs(found - events * rate) <= 5 * spread + 1, (found, events * rate)


def test_counts_are_those_of_the_files(
    simulation: Simulation, landed: dict[str, list[Record]]
) -> None:
    written = json.loads((simulation.folder / "truth" / "counts.json").read_text())
    for stream, time in TIMES.items():
        sound = [record.fields for record in landed[stream] if record.fault is None]
        assert written[stream]["records"] == len(landed[stream])
        assert written[stream]["malformed"] == len(landed[stream]) - len(sound)
        if stream in IDS:
            first = {}
            for fields in sound:
                first.setdefault(fields[IDS[stream]], fields)
            assert written[stream]["distinct"] == len(first)
            late = sum(
                fields["received_at"] - fields[time] >= timedelta(minutes=1)
                for fields in first.values()
            )
            assert written[stream]["late"] == late


def test_a_duplicate_differs_only_in_its_later_arrival(landed: dict[str, list[Record]]) -> None:
    for stream, key in IDS.items():
        first: dict[object, Record] = {}
        elsewhere = 0
        for record in (record for record in landed[stream] if record.fault is None):
            original = first.setdefault(record.fields[key], record)
            if original is not record:
                assert record.fields["received_at"] > original.fields["received_at"]
                arrival = {"received_at": record.fields["received_at"]}
                assert original.fields | arrival == record.fields
                elsewhere += original.source != record.source
        assert elsewhere or stream == "watches"


def test_files_and_their_rows_are_in_the_order_of_arrival(landed: dict[str, list[Record]]) -> None:
    hour = timedelta(hours=1)
    start = datetime(2026, 1, 5, tzinfo=UTC)
    end = start + timedelta(days=3)
    for stream, found in landed.items():
        arrivals = [record.fields["received_at"] for record in found if record.fault is None]
        assert arrivals == sorted(arrivals)
        for record in found:
            name = Path(record.source).stem
            opened = datetime.strptime(name, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
            if record.fault is None and start < opened < end - hour:
                assert opened <= record.fields["received_at"] < opened + hour, stream
        assert len({record.source for record in found}) <= 72


def test_events_are_out_of_order_although_arrivals_are_not(landed: dict[str, list[Record]]) -> None:
    for stream, time in TIMES.items():
        moments = [record.fields[time] for record in landed[stream] if record.fault is None]
        assert moments != sorted(moments)


def test_malformed_records_are_where_the_truth_says(
    simulation: Simulation, landed: dict[str, list[Record]]
) -> None:
    told = pq.read_table(simulation.folder / "truth" / "dead_letters.parquet").to_pylist()
    found = [
        {
            "stream": stream,
            "source": record.source,
            "offset": record.offset,
            "kind": record.fault,
        }
        for stream in TIMES
        for record in landed[stream]
        if record.fault is not None
    ]

    def order(row: dict[str, Any]) -> tuple[str, object]:
        return str(row["source"]), row["offset"]

    # A field that is gone looks like one that never was: `missing_field` has no other sign.
    assert sorted(told, key=order) == sorted(found, key=order)
    assert {row["kind"] for row in told} == {"broken", "missing_field", "wrong_type", "naive_time"}


def test_pages_people_and_items_look_like_traffic(landed: dict[str, list[Record]]) -> None:
    shown = {
        record.fields["impression_id"]: record.fields
        for record in landed["impressions"]
        if record.fault is None
    }
    positions = Counter(fields["position"] for fields in shown.values())
    assert set(positions) == set(range(1, 9))
    visits: dict[object, set[object]] = {}
    for fields in shown.values():
        visits.setdefault(fields["user_id"], set()).add(fields["session_id"])
    assert sum(len(sessions) > 1 for sessions in visits.values()) > len(visits) / 2
    items = Counter((fields["campaign"], fields["item_id"]) for fields in shown.values())
    popular = sum(count for _, count in items.most_common(len(items) // 20))
    assert popular > 0.2 * len(shown)
    clicks = {record.fields["impression_id"] for record in landed["clicks"] if record.fault is None}
    top = sum(shown[row]["position"] == 1 for row in clicks & shown.keys())
    assert top / positions[1] > 1.5 * len(clicks) / len(shown)


def test_files_per_stream_sets_how_many_files_land(tmp_path: Path) -> None:
    plan = SimulationPlan(impressions=3_000, seed=5, days=2, files_per_stream=5)
    simulate(tmp_path / "lake", plan)
    for stream in TIMES:
        assert len(list((tmp_path / "lake" / "data" / stream).iterdir())) == 5


def test_the_declarations_are_fine_and_match_the_files(simulation: Simulation) -> None:
    settings = Settings.load(env={}, path=simulation.folder / "lake" / "lake.toml")
    declared = inspect_declarations(settings)
    assert declared.problems == ()
    assert set(declared.streams) == {*TIMES, "items"}
    assert set(declared.sample_sets) == {"watch"}
    assert settings.data_dir == simulation.folder / "data"
    for name, stream in declared.streams.items():
        assert list(settings.data_dir.glob(stream.source.files)), name


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(FolderNotEmptyError) as refusal:
        simulate(tmp_path, SimulationPlan(impressions=10, seed=1))
    assert refusal.value.path == str(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_progress_ends_at_the_number_asked_for(tmp_path: Path) -> None:
    told: list[int] = []
    plan = SimulationPlan(impressions=2_000, seed=1, days=3)
    simulate(tmp_path / "lake", plan, on_progress=told.append)
    assert told == sorted(told)
    assert told[-1] == 2_000


@pytest.mark.parametrize(
    "wrong", [{"impressions": 0}, {"days": 0}, {"seed": -1}, {"files_per_stream": 0}]
)
def test_a_plan_refuses_sizes_that_make_no_sense(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        replace(SimulationPlan(impressions=10, seed=1), **wrong)


@pytest.mark.parametrize("impressions", [1, 7, 200])
def test_the_smallest_runs_work(tmp_path: Path, impressions: int) -> None:
    done = simulate(tmp_path / "lake", SimulationPlan(impressions=impressions, seed=2, days=1))
    assert done.counts["impressions"].distinct + done.counts["impressions"].malformed == impressions
