"""Errors of topics: what a log of records no longer holds, or cannot give."""

from dataclasses import replace
from typing import Self

from headrace.errors.flow import SourceError
from headrace.errors.remedy import Remedy

_TABLE_STANDS = "what was committed before stays, and nothing else was committed"
_RUN = Remedy.run("ingest", "run")


class KafkaMissingError(SourceError):
    """The Kafka client is not installed."""

    def __init__(self, topic: str, package: str) -> None:
        self.topic, self.package = topic, package
        super().__init__(
            f"topic `{topic}` cannot be read: `{package}` is not installed",
            remedy=Remedy(advice="install `headrace[kafka]`"),
        )


class TopicUnreachableError(SourceError):
    """No broker gave an answer in time, or not the one that leads `partition`."""

    retryable = True

    def __init__(
        self, topic: str, *, servers: str, detail: str, partition: int | None = None
    ) -> None:
        self.topic, self.servers, self.detail = topic, servers, detail
        self.partition = partition
        super().__init__(
            f"topic `{topic}` cannot be reached at `{servers}`: {detail}",
            state=_TABLE_STANDS,
            remedy=Remedy.run(
                "ingest", "run", advice="check `kafka_servers` and the brokers, then"
            ),
        )


class TopicAccessError(SourceError):
    """The brokers refuse the user or its certificate, or the user may not read the topic."""

    def __init__(self, topic: str, *, servers: str, detail: str) -> None:
        self.topic, self.servers, self.detail = topic, servers, detail
        super().__init__(
            f"topic `{topic}` at `{servers}` may not be read: {detail}",
            state=_TABLE_STANDS,
            remedy=Remedy(
                advice="check the `kafka_…` settings of the profile, HEADRACE_KAFKA_PASSWORD, and the "
                "user's right to read and describe the topic"
            ),
        )


class TopicNotFoundError(SourceError):
    """The brokers have no topic of that name."""

    def __init__(self, topic: str, *, servers: str) -> None:
        self.topic, self.servers = topic, servers
        super().__init__(
            f"there is no topic `{topic}` at `{servers}`",
            state="nothing was ingested",
            remedy=Remedy(advice="create it, or correct `source` in the contract"),
        )


class TopicReplacedError(SourceError):
    """A topic was deleted and created again, so its offsets mean other records."""

    def __init__(self, topic: str, *, expected: str, found: str) -> None:
        self.topic, self.expected, self.found = topic, expected, found
        super().__init__(
            f"topic `{topic}` was created again: its id is `{found}`, and records were taken of "
            f"`{expected}`",
            state="what was committed before stays",
            remedy=Remedy(
                advice="offsets of the new topic would be mixed with those of the old one: give the "
                "new topic another name, or ingest it with another stream into another table; a job of "
                "Flink that reads it mixes them: cancel it, then hand its stream to headrace by "
                "`headrace flink handover STREAM --to headrace --without-note`"
            ),
        )

    def of_stream(self, name: str) -> Self:
        """Advise how the stream goes on with the new topic; returns itself."""
        self.remedy = Remedy(
            advice="offsets of the new topic would be mixed with those of the old one: ingest it by "
            "another stream into another table, or begin this one again, without the rows it has",
            command=("ingest", "reset", name),
            otherwise=(
                Remedy.run(
                    *("flink", "handover", name, "--to", "headrace", "--without-note"),
                    advice="before, if a job of Flink reads it: cancel the job, then take the stream",
                ),
            ),
        )
        return self


class OffsetGapError(SourceError):
    """Records that were not read yet are gone: retention or a deletion was faster."""

    def __init__(
        self, topic: str, *, partition: int, first: int, end: int, remedy: Remedy | None = None
    ) -> None:
        self.topic, self.partition, self.first, self.end = topic, partition, first, end
        super().__init__(
            f"topic `{topic}`, partition {partition}: offsets {first} to {end - 1} were deleted before "
            "they were read",
            state=_TABLE_STANDS,
            remedy=remedy
            or Remedy.run(
                "ingest",
                "run",
                "--accept-gap",
                f"{partition}:{first}-{end}",
                advice="the records are lost to this stream; to go on without them",
            ),
        )

    def of_stream(self, name: str) -> Self:
        """Name the stream, as one that accepts a gap has to be named; returns itself."""
        unnamed = ("ingest", "run", "--accept-gap")
        if self.remedy is not None and self.remedy.command[:3] == unnamed:
            named = ("ingest", "run", name, *self.remedy.command[2:])
            self.remedy = replace(self.remedy, command=named)
        return self

    def of_note(self, stream: str, *, first: int | None = None) -> Self:
        """Return the error of a note of what Flink wrote, of which `first` is the first that is not there."""
        first = self.first if first is None else first
        remedy = Remedy.run(
            "flink",
            "stop",
            stream,
            "--accept-gap",
            f"{self.partition}:{first}-{self.end}",
            advice="records there are lost to this stream, unless a checkpoint of a job that is lost has "
            f"them: restore such a job first, by `headrace flink restore {stream}`; nothing tells any more "
            "whether there were records, or only markers of transactions; to go on without them",
        )
        return type(self)(
            self.topic, partition=self.partition, first=first, end=self.end, remedy=remedy
        )

    def before_note(self, stream: str) -> Self:
        """Return the error of a stream whose notes are older than what the topic deleted."""
        remedy = Remedy.run(
            "flink", "note", stream, advice="what Flink wrote is not lost; take note of it"
        )
        return type(self)(
            self.topic, partition=self.partition, first=self.first, end=self.end, remedy=remedy
        )


class RecordsSkippedError(SourceError):
    """The client left out records that are there; a second reading found them."""

    retryable = True

    def __init__(self, topic: str, *, partition: int, first: int, end: int) -> None:
        self.topic, self.partition, self.first, self.end = topic, partition, first, end
        super().__init__(
            f"topic `{topic}`, partition {partition}: the client left out records of offsets {first} to "
            f"{end - 1}, which a second reading found",
            state=_TABLE_STANDS,
            remedy=Remedy.run("ingest", "run", advice="they are read by the next run"),
        )


class LogTruncatedError(SourceError):
    """A log ends before what was taken of it, or holds another record there."""

    def __init__(self, topic: str, *, partition: int, offset: int, detail: str) -> None:
        self.topic, self.partition, self.offset, self.detail = topic, partition, offset, detail
        super().__init__(
            f"topic `{topic}`, partition {partition}: records were taken up to offset {offset}, but "
            f"{detail}",
            state=_TABLE_STANDS,
            remedy=Remedy(
                advice="the brokers lost records, as after an unclean election of a leader: compare "
                "the rows of the table's last offsets with the topic, and roll the table back to a "
                "snapshot before them"
            ),
        )


class TopicDamagedError(SourceError):
    """A record of a topic does not match its checksum."""

    def __init__(self, topic: str, *, partition: int, offset: int, detail: str) -> None:
        self.topic, self.partition, self.offset, self.detail = topic, partition, offset, detail
        super().__init__(
            f"topic `{topic}`, partition {partition}: what is stored at offset {offset} is damaged: "
            f"{detail}",
            state=_TABLE_STANDS,
            remedy=Remedy(advice="restore the partition from another replica"),
        )


class PartitionStalledError(SourceError):
    """Some partitions give no record, though the brokers say that they have more."""

    retryable = True

    def __init__(self, topic: str, *, partitions: tuple[int, ...], stalled_s: float) -> None:
        self.topic, self.partitions, self.stalled_s = topic, partitions, stalled_s
        super().__init__(
            f"topic `{topic}`: partitions {list(partitions)} gave nothing for {stalled_s:g} s though "
            "they have more, also after a new connection",
            state=_TABLE_STANDS,
            remedy=_RUN,
        )


class ReaderProcessError(SourceError):
    """A reader is used by another process than opened it, where its connections do not work."""

    def __init__(self, source: str, *, opened_by: int, used_by: int) -> None:
        self.source, self.opened_by, self.used_by = source, opened_by, used_by
        super().__init__(
            f"the reader of `{source}` was opened by process {opened_by} and is used by {used_by}",
            state="nothing was read",
            remedy=Remedy(advice="open a reader in the process that polls it"),
        )


class SchemaChangedError(SourceError):
    """An id means another schema than before, so values would be read as what they are not."""

    def __init__(self, topic: str, *, schema_id: int, expected: str, found: str) -> None:
        self.topic, self.schema_id = topic, schema_id
        self.expected, self.found = expected, found
        super().__init__(
            f"schema {schema_id} of topic `{topic}` is another one than before: its hash is "
            f"`{found}`, and records were read by `{expected}`",
            state=_TABLE_STANDS,
            remedy=Remedy.run(
                "ingest",
                "run",
                advice="restore the schema in the registry; if the new one is right, raise `version` in "
                "the contract, then",
            ),
        )


class SchemaUnavailableError(SourceError):
    """A schema that values name cannot be read from its registry or its file."""

    retryable = True

    def __init__(self, topic: str, *, where: str, detail: str) -> None:
        self.topic, self.where, self.detail = topic, where, detail
        super().__init__(
            f"topic `{topic}`: a schema cannot be read from `{where}`: {detail}",
            state=_TABLE_STANDS,
            remedy=Remedy.run(
                "ingest", "run", advice="check `schema_registry_url`, or the files of schemas, then"
            ),
        )


class TopicNotEmptyError(SourceError):
    """A topic that is about to be filled has records already."""

    def __init__(self, topic: str, *, servers: str) -> None:
        self.topic, self.servers = topic, servers
        super().__init__(
            f"topic `{topic}` at `{servers}` has records already",
            state="nothing was written to it",
            remedy=Remedy(advice="delete it, or use other brokers"),
        )
