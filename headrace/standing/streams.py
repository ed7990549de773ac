"""Read how far streams are: their tables, sources, services, and records that were refused."""

import datetime as dt
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from headrace.clock import time_at
from headrace.definitions.sources import KafkaSource
from headrace.definitions.stream import Stream
from headrace.errors import TopicUnreachableError
from headrace.ingest import dead_letters, progress, watermark
from headrace.ingest.field_use import misspelt
from headrace.ingest.letters import streams_with_letters
from headrace.ingest.recent import recent
from headrace.ingest.status import StreamStatus
from headrace.ingest.statuses import statuses
from headrace.standing.facts import StreamStanding, Unreadable
from headrace.standing.wording import listed, moment
from headrace.tables.lake import OpenLake

BROKERS = "Kafka"


@dataclass(frozen=True, kw_only=True)
class StreamsRead:
    """How far streams are, and those of them that could not be read."""

    streams: tuple[StreamStanding, ...]
    unreadable: tuple[Unreadable, ...]


def read_streams(
    lake: OpenLake,
    streams: Mapping[str, Stream],
    *,
    unreadable: Collection[str],
    of_flink: Collection[str],
) -> StreamsRead:
    """Read how far each stream is; one that cannot be read does not hide the others.

    A stream whose table is among the `unreadable` ones has no trouble of its own. Tables of
    `of_flink` are written by jobs.
    """
    now = dt.datetime.now(dt.UTC)
    answers = statuses(lake, streams.values())
    silent: list[tuple[str, TopicUnreachableError]] = []
    found: list[StreamStanding] = []
    troubled: list[Unreadable] = []
    for stream in streams.values():
        table = str(stream.table)
        facts = StreamStanding(
            stream=stream.name,
            table=table,
            source=stream.source.text,
            waiting=None,
            parts="partition" if isinstance(stream.source, KafkaSource) else "file",
            is_of_flink=table in of_flink,
        )
        said = progress.read(lake.settings, stream.name)
        facts = _with_service(said, facts)
        answer = answers[stream.name]
        if answer.status is not None:
            facts = _with_status(facts, answer.status, stream, now=now)
            facts = _with_stop(said, facts)
        else:
            facts = replace(facts, rows=None)
        if answer.is_whole:
            facts = replace(facts, waiting=len(answer.known().sources_waiting))
        if answer.silent is not None and answer.silent.partition is None:
            silent.append((stream.name, answer.silent))
        elif answer.silent is not None:
            troubled.append(Unreadable.of(f"stream {stream.name}", answer.silent))
        elif answer.error is not None and table not in unreadable:
            troubled.append(Unreadable.of(f"stream {stream.name}", answer.error))
        found.append(facts)
    return StreamsRead(streams=tuple(found), unreadable=(*_brokers(silent), *troubled))


def _brokers(silent: Sequence[tuple[str, TopicUnreachableError]]) -> Iterator[Unreadable]:
    """Say once that brokers do not answer, and of which streams it is not known what waits."""
    if silent:
        ((_, error), *_) = silent
        said = Unreadable.of(BROKERS, error)
        names = listed([name for name, _ in silent])
        text = (
            f"no answer of `{error.servers}`: {error.detail}; what waits for {names} is not known"
        )
        yield replace(said, text=text)


def _with_service(said: progress.Progress | None, facts: StreamStanding) -> StreamStanding:
    if said is None:
        return facts
    return replace(
        facts,
        lag=sum(said.lag.values()) if said.is_live else None,
        service=said.phase_now,
        trouble=f"{said.phase_now} {said.error}".strip() if said.needs_person else "",
        trouble_at=time_at(said.updated_ms or None),
    )


def _with_stop(said: progress.Progress | None, facts: StreamStanding) -> StreamStanding:
    """Say that nothing follows a stream any more whose service was asked to stop.

    Not where runs or a job go on with it: they move the watermark beyond that of the service.
    """
    if said is None or said.phase is not progress.Phase.STOPPED or facts.is_of_flink:
        return facts
    reached = watermark.as_time(said.watermark_us)
    if facts.watermark is not None and (reached is None or facts.watermark > reached):
        return facts
    ended_at = time_at(said.former_ended_ms)
    return replace(
        facts,
        stopped_at=time_at(said.updated_ms),
        former=f"ended at {moment(ended_at)} UTC with {said.former_error}" if ended_at else "",
        stale=False,  # it is not followed
    )


def _with_status(
    facts: StreamStanding, found: StreamStatus, stream: Stream, *, now: dt.datetime
) -> StreamStanding:
    lag_max = watermark.lag_max(stream.allowed_lateness)
    is_followed = facts.service is not None or facts.is_of_flink
    is_late = found.watermark is not None and now - found.watermark > lag_max
    return replace(
        facts,
        rows=found.rows,
        committed_at=found.committed_at,
        watermark=found.watermark,
        missing=found.sources_missing or "",
        dead_letters=found.dead_letters,
        stale=is_followed and is_late,
        undeclared=found.undeclared_fields,
        misspelt=misspelt(found.undeclared_fields, stream),
        absent=found.absent_fields,
    )


def refused_by_stream(
    lake: OpenLake, streams: Mapping[str, Stream]
) -> Mapping[str, Mapping[str, int]]:
    """Count refused records that need a person, by stream and error code, most frequent first.

    Of a declared stream those of its newest day that nobody acknowledged; of one that is no longer
    declared, and so cannot be acknowledged, all.

    Raises:
        LakeError: If the dead letters cannot be read.

    """
    found: dict[str, Mapping[str, int]] = {}
    for name in sorted(streams_with_letters(lake)):
        if name in streams:
            found[name] = recent(lake, streams[name]).reasons
            continue
        head = lake.table(dead_letters.TABLE).head()
        counted: Counter[str] = Counter()
        for batch in head.batches(columns=("error_code",), partitions=[(name,)]):
            counted.update(pa.table(batch).column("error_code").to_pylist())
        found[name] = dict(counted.most_common())
    return {name: reasons for name, reasons in found.items() if reasons}


def with_refused(
    streams: tuple[StreamStanding, ...], refused: Mapping[str, Mapping[str, int]]
) -> tuple[StreamStanding, ...]:
    """Add to streams what of them was refused."""
    return tuple(
        replace(each, refused=sum(reasons.values()), reasons=reasons)
        if (reasons := refused.get(each.stream))
        else each
        for each in streams
    )


def of_others(
    streams: tuple[StreamStanding, ...], refused: Mapping[str, Mapping[str, int]]
) -> Mapping[str, Mapping[str, int]]:
    """Keep what was refused of streams that are not declared."""
    declared = {each.stream for each in streams}
    return {name: reasons for name, reasons in refused.items() if name not in declared}
