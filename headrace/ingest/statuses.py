"""How far many streams are: tables are read one after the other, brokers are asked for all topics at once."""

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from headrace.definitions.sources import KafkaSource
from headrace.definitions.stream import Stream
from headrace.errors import LakeError, TopicUnreachableError
from headrace.ingest.sources.base import ReaderStatus
from headrace.ingest.sources.open import open_source
from headrace.ingest.status import ANSWER_S_MAX, SourceAsked, StreamStatus, table_status
from headrace.tables.lake import OpenLake

ASKED_AT_ONCE_MAX = 32  # each is a client with connections of its own


@dataclass(frozen=True, kw_only=True)
class StreamAnswer:
    """How far one stream is, and why that is not known, or not fully.

    The status is what the tables say where its source gave none: `silent` says that the brokers of its
    topic do not answer, `error` what else is wrong with it.
    """

    status: StreamStatus | None = None
    error: LakeError | None = None
    silent: TopicUnreachableError | None = None

    @property
    def is_whole(self) -> bool:
        """Whether the source answered too, so that it is known what waits there."""
        return self.status is not None and self.error is None and self.silent is None

    def known(self) -> StreamStatus:
        """Return the status.

        Raises:
            LakeError: If there is none.

        """
        if self.status is None:
            raise self.error or LookupError
        return self.status


def statuses(lake: OpenLake, streams: Iterable[Stream]) -> dict[str, StreamAnswer]:
    """Read how far each stream is, by name in the order given; changes nothing.

    One that cannot be read does not hide the others. Where no broker answers it waits for 3 s, however
    many topics there are; where only leaders of some topics are away, for 3 s with each 32 of these.
    """
    found: dict[str, StreamAnswer] = {}
    asked: dict[str, SourceAsked] = {}
    for stream in streams:
        found[stream.name] = StreamAnswer()  # keeps the order
        try:
            source = open_source(stream, lake.settings, answer_s_max=ANSWER_S_MAX)
            one = SourceAsked.of(lake, stream, source)
            if source.is_log:
                asked[stream.name] = one
            else:
                found[stream.name] = StreamAnswer(status=one.status(one.ask()))
        except LakeError as error:  # also of a topic of which nothing says where it is
            found[stream.name] = _of_tables(lake, stream, error)
    for name, said in _ask(asked).items():
        found[name] = _answer(lake, asked[name], said)
    return found


def _answer(lake: OpenLake, asked: SourceAsked, said: ReaderStatus | LakeError) -> StreamAnswer:
    try:
        if isinstance(said, TopicUnreachableError):
            return StreamAnswer(status=table_status(lake, asked.stream), silent=said)
        if isinstance(said, LakeError):
            return _of_tables(lake, asked.stream, said)
        return StreamAnswer(status=asked.status(said))
    except LakeError as error:
        return StreamAnswer(error=error)


def _of_tables(lake: OpenLake, stream: Stream, error: LakeError) -> StreamAnswer:
    try:
        return StreamAnswer(status=table_status(lake, stream), error=error.of_stream(stream.name))
    except LakeError as unreadable:
        return StreamAnswer(error=unreadable)


def _ask(asked: Mapping[str, SourceAsked]) -> dict[str, ReaderStatus | LakeError]:
    """Ask for all topics at once.

    All streams of a lake have the same brokers: once none answered for one topic, those that still wait
    for their turn are not asked for.
    """
    away: list[TopicUnreachableError] = []

    def ask(one: SourceAsked) -> ReaderStatus | LakeError:
        if away:
            return _same(away[0], one.stream)
        try:
            return one.ask()
        except LakeError as error:
            if isinstance(error, TopicUnreachableError) and error.partition is None:
                away.append(error)
            return error

    if not asked:
        return {}
    with ThreadPoolExecutor(max_workers=min(len(asked), ASKED_AT_ONCE_MAX)) as pool:
        return dict(zip(asked, pool.map(ask, asked.values()), strict=True))


def _same(error: TopicUnreachableError, stream: Stream) -> TopicUnreachableError:
    declared = stream.source
    topic = declared.kafka.topic if isinstance(declared, KafkaSource) else error.topic
    return TopicUnreachableError(topic, servers=error.servers, detail=error.detail)
