"""Claim: the first page of a lake of 200 tables, large ones first, shows content within a second.

The large tables have 100 snapshots and 10,000 files each, real manifests without rows, and names
that come first, so that they are what the page reads before it shows something. The others are
small: the page shows nothing of them before, but asks the catalog and the registry about all. Each
round is a process of its own that has read nothing. What is timed begins with the call that reads
the facts and ends when there is something to draw; starting Python and drawing are left out.
"""

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import pyarrow as pa

from benchmarks.harness import Contender, Result, Rounds, measure, open_lake, show
from benchmarks.planning import files_of
from headrace.identifiers import TableName
from headrace.tables.commits.operations import Provenance, append

FIRST_S_MAX = 1.0
_SCHEMA = pa.schema([pa.field("event_time", pa.timestamp("us", tz="UTC"), nullable=False)])
_READ = """
import json, time
from ui import data
from ui.reading import READ_S
began = time.perf_counter()
facts = data.lake_facts(within_s=READ_S)
first_s = time.perf_counter() - began
shown = len(facts.tables)
while facts.unread:
    facts = data.lake_facts(within_s=READ_S)
print(json.dumps({"first_s": first_s, "shown": shown, "all_s": time.perf_counter() - began,
                  "tables": len(facts.tables), "files": max(each.files for each in facts.tables)}))
"""


def first_page(*, folder: str, tables: int, large: int, snapshots: int, files: int) -> Rounds:
    """Make the lake, and read it for the first time in each round."""
    with open_lake(folder) as lake:
        for number in range(tables):
            name = TableName("raw", f"a{number}" if number < large else f"b{number:03}")
            table = lake.create(name, _SCHEMA, partition_by=["day(event_time)"])
            if number >= large:
                continue
            entries = files_of(table, files=files + snapshots, partitions=snapshots, columns=1)
            append(table, entries[snapshots:], provenance=Provenance())
            for entry in entries[1:snapshots]:
                append(table, [entry], provenance=Provenance())
    file = Path(folder) / "lake" / "lake.toml"
    env = {**os.environ, "HEADRACE_LAKE": str(file), "STREAMLIT_LOGGER_LEVEL": "error"}
    yield {}
    while True:
        done = subprocess.run(
            [sys.executable, "-c", _READ], env=env, capture_output=True, text=True, check=True
        )
        yield json.loads(done.stdout.splitlines()[-1])


def run(*, quick: bool) -> list[Result]:
    """Measure 200 tables, 5 of them large; `quick` measures 20, 2 of them of 500 files."""
    sizes = {"tables": 200, "large": 5, "snapshots": 100, "files": 10_000}
    if quick:
        sizes = {"tables": 20, "large": 2, "snapshots": 10, "files": 500}
    name = "first page"
    contender = Contender(name=name, module=__name__, function="first_page", arguments=sizes)
    rounds = measure([contender], rounds=3 if quick else 5)[name].rounds
    figures = [dict(each.figures) for each in rounds]
    show("the first page", figures)
    first_s = statistics.median(each["first_s"] for each in figures)
    return [
        Result(
            claim="the first page of 200 tables, 10,000 files and 100 snapshots in the first ones",
            value=first_s,
            unit="s until there is something to draw",
            peer="the limit of a page",
            ratio=first_s / FIRST_S_MAX,
            target=f"<= {FIRST_S_MAX} s",
            holds=first_s <= FIRST_S_MAX,
        )
    ]
