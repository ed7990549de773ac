"""Follows any number of streams in one process: a thread for each, which does not stop the others."""

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from headrace.collector import many_objects
from headrace.config import Settings
from headrace.definitions.stream import Stream
from headrace.errors import LakeError
from headrace.ingest.cadence import Cadence
from headrace.ingest.follow import follow
from headrace.ingest.progress import Listener, Progress
from headrace.ingest.sources.base import Source
from headrace.tables.lake import OpenLake

_LOOK_S = 0.2


@dataclass(frozen=True, kw_only=True)
class Followed:
    """How following some streams ended: how far each went, and what ended those that failed."""

    progress: Mapping[str, Progress]
    errors: Mapping[str, LakeError]


def follow_all(
    settings: Settings,
    streams: Sequence[Stream],
    *,
    stop: threading.Event,
    cadence_of: Callable[[Stream], Cadence],
    listeners: Sequence[Listener] = (),
    source_of: Callable[[Stream], Source] | None = None,
    failed: Callable[[str, LakeError], None] = lambda *_: None,
) -> Followed:
    """Follow streams until `stop` is set, or until each of them failed.

    Each thread opens the lake for itself. `failed` is called once for each stream that ends with an
    error; the others go on. An error that is not a `LakeError` is a bug: all streams stop with
    their final commits, and it is raised.
    """
    progress: dict[str, Progress] = {}
    errors: dict[str, LakeError] = {}

    def run(stream: Stream) -> Progress:
        with many_objects(), OpenLake.open(settings) as lake:
            return follow(
                lake,
                stream,
                stop=stop,
                cadence=cadence_of(stream),
                listeners=listeners,
                source=None if source_of is None else source_of(stream),
            )

    with ThreadPoolExecutor(len(streams), thread_name_prefix="ingest") as threads:
        names: dict[Future[Progress], str] = {}
        try:  # also around this: a thread that cannot start would leave the others at work for ever
            for stream in streams:
                names[threads.submit(run, stream)] = stream.name
            left = set(names)
            while left:
                done, left = wait(left, timeout=_LOOK_S, return_when=FIRST_COMPLETED)
                for each in done:
                    try:
                        progress[names[each]] = each.result()
                    except LakeError as error:
                        errors[names[each]] = error
                        failed(names[each], error)
        finally:
            stop.set()
    return Followed(progress=progress, errors=errors)
