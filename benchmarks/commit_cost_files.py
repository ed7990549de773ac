"""Claim: the cost of a commit, and its metadata, do not grow with the number of ingested files.

Each commit ingests one file of one record, the minimum, from a landing folder that keeps every
file. The peer is the same stream after few files. The start of a run lists the folder and looks its
files up; it grows with the folder, is reported separately, and is not part of a commit.
"""

import json
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.harness import Contender, Measured, Result, Rounds, measure, open_lake, show

if TYPE_CHECKING:
    from headrace.api import Lake
    from headrace.definitions.stream import Stream
    from headrace.ingest.status import Taken

COMMITS_PER_ROUND = 25
GROWTH_MAX = 1.3
METADATA_KIB_MAX = 64
METADATA_GROWTH_MAX = 1.1


def headrace(*, folder: str, files: int) -> Rounds:
    """Ingest file after file, after `files` of them."""
    from headrace.ingest.run import ingest

    stream = _stream()
    with open_lake(folder) as lake:
        taken = _as_if_taken(lake, stream, files=files)
        yield {}
        while True:
            for _ in range(COMMITS_PER_ROUND):
                _land(lake, taken)
                taken += 1
            clock = _Clock()
            ingest(lake, stream, progress=clock.lap)
            metadata = lake.table(stream.table).iceberg().metadata_location
            size = Path(metadata.removeprefix("file://")).stat().st_size
            yield {**clock.figures(), "metadata_kib": size / 1024}


def _stream() -> "Stream":
    from headrace.definitions.stream import Stream

    return Stream.model_validate(
        {
            "stream": "events",
            "table": "raw.events",
            "source": {"files": "events/*.jsonl"},
            "format": "json",
            "event_time": "at",
            "fields": {
                "id": {"type": "long", "required": True},
                "at": {"type": "timestamptz", "required": True},
            },
        }
    )


def _land(lake: "Lake", number: int) -> str:
    name = f"events/{1_767_225_600 + 60 * number}-host-07-part-{number:07}.jsonl"
    path = lake.settings.data_dir / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'{{"id": {number}, "at": "2026-01-01T00:00:00Z"}}\n')
    return name


def _as_if_taken(lake: "Lake", stream: "Stream", *, files: int) -> int:
    """Land files and let the table say that it took them, which is all that a commit meets of them."""
    from headrace.definitions.properties import OFFSETS_PREFIX
    from headrace.ingest.positions import Positions
    from headrace.ingest.run import ingest
    from headrace.ingest.sources.base import Position, Seen, SourcePartition
    from headrace.ingest.sources.fingerprint import Fingerprint
    from headrace.tables.commits.operations import move_properties

    _land(lake, 0)
    ingest(lake, stream)
    table = lake.table(stream.table)
    found = Positions.read(table, table.head().properties, stream=stream.name)
    for number in range(1, files):
        name = _land(lake, number)
        with (lake.settings.data_dir / name).open("rb") as handle:
            status = (lake.settings.data_dir / name).stat()
            fingerprint = str(Fingerprint.of(handle, status.st_size))
        seen = Seen(status.st_ctime_ns, status.st_ino)
        found = found.moved({SourcePartition(name): Position(1, status.st_size, fingerprint, seen)})
    offsets = {OFFSETS_PREFIX + stream.name: json.dumps(found.offsets(), sort_keys=True)}
    move_properties(table, lambda _: found.files() | offsets)
    return files


class _Clock:
    """Times each commit of a run from the one before; what comes before the first is the start."""

    def __init__(self) -> None:
        self._laps_s: list[float] = []
        self._last = time.process_time()

    def lap(self, _: "Taken") -> None:
        now = time.process_time()
        self._laps_s.append(now - self._last)
        self._last = now

    def figures(self) -> dict[str, float]:
        """The median commit, and the start without the commit that follows it."""
        commit_s = statistics.median(self._laps_s[1:])
        return {"cpu_ms": commit_s * 1_000, "start_ms": (self._laps_s[0] - commit_s) * 1_000}


def run(*, quick: bool) -> list[Result]:
    """Compare commits after 100,000 files with those after 100; `quick` after 2,000, once."""
    many, rounds = (2_000, 2) if quick else (100_000, 8)
    counts = {"few": 100, "many": many}
    contenders = [
        Contender(name=name, module=__name__, function="headrace", arguments={"files": files})
        for name, files in counts.items()
    ]
    found = measure(contenders, rounds=rounds)
    rows = [_row(found[name], files) for name, files in counts.items()]
    show(f"commits of one file each, {rounds * COMMITS_PER_ROUND} of them", rows)
    few, after = found["few"].figure("cpu_ms"), found["many"].figure("cpu_ms")
    sizes = {name: found[name].rounds[-1].figures["metadata_kib"] for name in counts}
    early_kib = found["many"].rounds[0].figures["metadata_kib"]
    growth = sizes["many"] / sizes["few"]
    return [
        Result(
            claim="commit_cost_files",
            value=after,
            unit=f"CPU ms per commit after {many:,} files",
            peer=f"after {counts['few']} files, {few:.1f} ms",
            ratio=after / few,
            target=f"ratio <= {GROWTH_MAX}",
            holds=after <= GROWTH_MAX * few,
        ),
        Result(
            claim="metadata_size_files",
            value=early_kib,
            unit=f"KiB of metadata.json, {COMMITS_PER_ROUND} commits after {many:,} files",
            peer=(
                f"after {counts['few']} files; at {rounds * COMMITS_PER_ROUND} commits "
                f"{sizes['many']:.0f} beside {sizes['few']:.0f} KiB, the 100 newest snapshots"
            ),
            ratio=growth,
            target=f"ratio <= {METADATA_GROWTH_MAX}, value <= {METADATA_KIB_MAX}",
            holds=growth <= METADATA_GROWTH_MAX and early_kib <= METADATA_KIB_MAX,
        ),
    ]


def _row(measured: Measured, files: int) -> dict[str, object]:
    return {
        "": f"after {files:,} files",
        "CPU ms a commit": measured.figure("cpu_ms"),
        "CPU ms to start": measured.figure("start_ms"),
        "KiB metadata, first": measured.rounds[0].figures["metadata_kib"],
        "last": measured.rounds[-1].figures["metadata_kib"],
        "peak RSS MiB": measured.peak_rss_mib,
    }
