"""Claim: checking every input file before an engine reads it costs at most a tenth of a sample build.

Three builds of the same samples, 400,000 exposures of four days with twelve feature columns: one
that checks nothing, one whose inputs were checked by an earlier process, and one that reads every
input file an extra time to verify it, which happens once per file.
"""

import time
from itertools import count
from typing import TYPE_CHECKING

from benchmarks.harness import Contender, Measured, Result, Rounds, measure, open_lake, show

if TYPE_CHECKING:
    from headrace.api import Lake
    from headrace.definitions.sample_set import SampleSet

ROWS = 400_000
FEATURES = 12
RATIO_MAX = 1.10
_START_US = 1_767_571_200_000_000
_DAYS_US = 4 * 86_400 * 1_000_000
_EXPOSURES = """
select 'shown/' || i as shown_id,
  make_timestamptz({start} + (i * {step})::bigint) as event_time,
  (hash(i) % 5000)::bigint as item, (hash(i + 1) % 100000)::bigint as user_id,
  (i % 8)::int as slot
from range({rows}) r(i)
"""
_FEATURES = """
select (hash(i) % 5000)::bigint as item,
  make_timestamptz({start} + (i * {step})::bigint) as event_time,
  make_timestamptz({start} + (i * {step})::bigint) as known_at,
  {values}
from range({rows}) r(i)
"""


def build(*, rows: int, checks: str, folder: str) -> Rounds:
    """Build all days into a new table; `checks` says what is checked for it: none, new or all."""
    from headrace.samples.build import build as build_samples
    from headrace.storage import file_cache
    from headrace.tables import verified

    with open_lake(folder) as lake:
        _fill(lake, rows)
        if checks == "none":
            verified.VerifiedFiles.verify = _checks_nothing
        time.sleep(0.2)  # files written a moment ago are not recorded as verified yet
        build_samples(lake, _sample_set("before"))
        yield {}
        for number in count():
            if checks == "all":
                verified.forget()
                (lake.settings.state_dir / file_cache.DATABASE).unlink()
            done = build_samples(lake, _sample_set(f"round_{number}"))
            yield {"rows": done.rows}


def _checks_nothing(*_: object, **__: object) -> int:
    return 0


def _fill(lake: "Lake", rows: int) -> None:
    from headrace.definitions.feature_view import FeatureView
    from headrace.definitions.properties import FEATURE_VIEW_PROPERTY
    from headrace.engines.duckdb import DuckDBEngine
    from headrace.identifiers import TableName
    from headrace.tables.commits import operations

    view = FeatureView(view=TableName("bench", "rates"), entity=("item",), ttl=None)
    values = ", ".join(f"(hash(i + {at}) % 1000)::bigint as v{at}" for at in range(FEATURES))
    queries = {
        "shown": (_EXPOSURES, {}),
        "rates": (_FEATURES, {FEATURE_VIEW_PROPERTY: view.to_property()}),
    }
    with DuckDBEngine.open(lake.settings) as engine:
        for name, (sql, properties) in queries.items():
            read = sql.format(start=_START_US, step=_DAYS_US / rows, rows=rows, values=values)
            table = lake.create(
                TableName("bench", name),
                engine.query(read).schema,
                partition_by=["day(event_time)"],
                properties=properties,
            )
            files = engine.write(read, into=table)
            operations.append(table, files, provenance=operations.Provenance())


def _sample_set(name: str) -> "SampleSet":
    from headrace.definitions.sample_set import SampleSet

    return SampleSet.model_validate(
        {
            "samples": name,
            "table": f"samples.{name}",
            "exposures": {
                "table": "bench.shown",
                "id": "shown_id",
                "entities": ["item"],
                "columns": ["user_id", "slot"],
            },
            "features": [{"view": "bench.rates", "columns": [f"v{at}" for at in range(FEATURES)]}],
            "labels": [],
        }
    )


def run(*, quick: bool) -> list[Result]:
    """Measure seven rounds of each; `quick` builds a tenth of the rows, twice."""
    rows = ROWS // 10 if quick else ROWS
    kinds = {"checks nothing": "none", "checked before": "new", "checks every file": "all"}
    contenders = [
        Contender(
            name=name,
            module=__name__,
            function="build",
            arguments={"rows": rows, "checks": checks},
        )
        for name, checks in kinds.items()
    ]
    found = measure(contenders, rounds=2 if quick else 7)
    show(f"samples of {rows:,} exposures", [_row(found[name]) for name in kinds])
    plain, known, every = (found[name] for name in kinds)
    same = plain.figure("rows") == known.figure("rows") == every.figure("rows") == rows
    return [
        Result(
            claim=claim,
            value=measured.cpu_s,
            unit="CPU s",
            peer=f"the same build unchecked, {plain.cpu_s:.2f} s",
            ratio=measured.cpu_s / plain.cpu_s,
            target=f"ratio <= {RATIO_MAX}",
            holds=same and measured.cpu_s <= RATIO_MAX * plain.cpu_s,
        )
        for claim, measured in (("verification", every), ("verification_known", known))
    ]


def _row(measured: Measured) -> dict[str, object]:
    return {
        "": measured.name,
        "CPU s": measured.cpu_s,
        "wall s": measured.wall_s,
        "peak RSS MiB": measured.peak_rss_mib,
    }
