"""Where the job of a sample set begins: at the heads of its tables, after what is known by all of them."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict

from headrace.clock import ONE_US
from headrace.definitions.properties import SAMPLES_BEGIN
from headrace.definitions.stream import KNOWN_AT
from headrace.definitions.window_rows import disorder_of
from headrace.engines.open import open_engine
from headrace.errors import NothingToFollowError
from headrace.flink.begin import Begin
from headrace.flink.live_samples import LiveSamples
from headrace.identifiers import quote
from headrace.tables.lake import OpenLake
from headrace.tables.version import TableVersion


def begins_now(lake: OpenLake, live: LiveSamples) -> dict[str, Begin]:
    """Look at the tables: the job follows their heads, and writes what the live table lacks.

    That is what matures after its newest revision; without any, after the last job began, else from now.

    Raises:
        NothingToFollowError: If a table has no rows yet, whose times the revisions would follow.

    """
    streams = {str(each.table): each for each in (live.exposures, *live.labels)}
    heads = {name: lake.table(name).head() for name in streams}
    table = lake.table(live.table).head()
    (done_us,) = _newest(lake, [table])
    for each in begins_of(table.properties).values():
        done_us = each.after_us if done_us is None else done_us
    now_us = lake.now_ms() * 1000  # a wrong clock settles nothing
    settled = [
        min(newest, now_us) - disorder_of(streams[name]) // ONE_US
        for name, newest in zip(heads, _newest(lake, heads.values()), strict=True)
        if newest is not None
    ]
    if len(settled) < len(heads):
        empty = next(name for name, head in heads.items() if not head.row_count)
        raise NothingToFollowError(str(live.table), table=empty)
    after_us = min(settled) if done_us is None else done_us
    return {name: Begin.at(head.metadata, after_us=after_us) for name, head in heads.items()}


def _newest(lake: OpenLake, versions: Iterable[TableVersion]) -> list[int | None]:
    found: list[int | None] = []
    with open_engine(lake.settings) as engine:
        for version in versions:
            if not version.row_count:
                found.append(None)
                continue
            engine.bind(str(version.name), version)
            relation = ".".join(map(quote, str(version.name).split(".")))
            newest = f"max({engine.dialect.epoch_us(KNOWN_AT)})"
            rows = engine.query(f"select {newest} as found from {relation}").read_all()
            found.append(rows["found"][0].as_py())
    return found


def noted(begins: Mapping[str, Begin]) -> dict[str, str]:
    """Return it as an entry of table properties."""
    said = {name: asdict(each) for name, each in begins.items()}
    return {SAMPLES_BEGIN: json.dumps(said, sort_keys=True)}


def begins_of(properties: Mapping[str, str]) -> dict[str, Begin]:
    """Read what a version of the live table says."""
    said = json.loads(properties.get(SAMPLES_BEGIN, "{}"))
    return {name: Begin(**each) for name, each in said.items()}
