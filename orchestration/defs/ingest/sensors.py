"""Requests an ingest run when a stream has source files that are not ingested yet."""

import hashlib
from collections.abc import Iterator

import dagster as dg

from headrace.errors import LakeError
from headrace.ingest.statuses import statuses
from orchestration.lib.asking import ASKED, next_run_key
from orchestration.lib.declared import read_declared
from orchestration.lib.keys import table_key
from orchestration.lib.resource import LakeResource


@dg.sensor(
    target=dg.AssetSelection.groups("ingest"),
    minimum_interval_seconds=60,
    description="One run per stream with files that are not ingested yet; retries failed runs.",
)
def new_source_files(
    context: dg.SensorEvaluationContext, lake: LakeResource
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Compare the files of each stream with the offsets in its table.

    A stream whose source or table cannot be read does not hold up the others. The tick fails with its
    error if there is nothing to request.
    """
    waiting: list[str] = []
    failed: list[LakeError] = []
    requested = False
    with lake.open() as opened:
        streams = {each.name: each for each in read_declared(opened.settings).streams}
        for name, answer in statuses(opened, streams.values()).items():
            error, found = answer.error or answer.silent, answer.status
            if error is not None:
                context.log.error(f"{name}: {error}")
                failed.append(error)
                continue
            if found is None or not found.sources_waiting:
                continue
            waiting.append(name)
            # a file may grow under the same name, so rows ingested so far are part of the key
            asked = f"{found.rows + found.dead_letters} {' '.join(found.sources_waiting)}"
            work = f"{name}:{hashlib.sha256(asked.encode()).hexdigest()[:16]}"
            run_key = next_run_key(context.instance, work)
            if run_key is None:
                continue
            requested = True
            yield dg.RunRequest(
                run_key=run_key,
                asset_selection=[table_key(streams[name].table)],
                tags={"headrace/files_waiting": str(len(found.sources_waiting)), ASKED: work},
            )
    if failed and not requested:
        raise failed[0]
    if not waiting:
        yield dg.SkipReason("all source files are ingested")
    elif not requested:
        yield dg.SkipReason(f"already requested: {', '.join(waiting)}")
