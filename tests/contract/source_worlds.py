"""Sources with records in them, to which more can be added: for what every source promises."""

import atexit
import functools
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

from headrace.ingest.sources.base import Source, SourcePartition
from headrace.ingest.sources.files import FileSource
from headrace.ingest.sources.kafka import KafkaSource
from tests.ingest.factories import json_line, make_stream
from tests.ingest.log_source import Entry, Log, LogSource
from tests.mock_kafka import MockKafka

STREAM = make_stream("json")
Pair = tuple[int, bytes]


class World(ABC):
    """A source with records in it, to which more can be added."""

    unit_rows: int  # the most records that are read at once, above the wanted number

    @abstractmethod
    def source(self) -> Source:
        """Make the source, as another process would."""

    @abstractmethod
    def records(self) -> dict[SourcePartition, list[Pair]]:
        """Everything that is in it, with offsets."""

    @abstractmethod
    def grow(self) -> None:
        """Add a record to some partitions."""


class Files(World):
    """Three files of JSON lines, one of them without a record."""

    unit_rows = 4

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        (data_dir / "things").mkdir(parents=True)
        self._lines = {"a": lines_of("a", 7), "b": [], "c": lines_of("c", 5)}
        self._write()

    def _write(self) -> None:
        for name, lines in self._lines.items():
            path = self._data_dir / "things" / f"{name}.jsonl"
            path.write_bytes(b"".join(line + b"\n" for line in lines))

    def source(self) -> Source:
        size = min(len(line) for line in lines_of("a", 7))
        return FileSource(STREAM, data_dir=self._data_dir, read_bytes=self.unit_rows * size - 1)

    def records(self) -> dict[SourcePartition, list[Pair]]:
        named = {f"things/{name}.jsonl": lines for name, lines in self._lines.items()}
        return {SourcePartition(name): list(enumerate(of)) for name, of in named.items() if of}

    def grow(self) -> None:
        self._lines["c"] = lines_of("c", 6)
        self._lines["d"] = lines_of("d", 1)
        self._write()


class Topic(World):
    """Four partitions: with gaps, with an end behind a marker, of markers only, and empty."""

    unit_rows = 0

    def __init__(self, _: Path) -> None:
        self._logs = {
            0: log_of("p", [0, 1, 2, 5, 6, 9, 10], end=11),
            1: log_of("q", [3, 4, 8, 9, 12], end=20),
            2: Log(entries=(), end=3),
            3: Log(entries=(), end=0),
        }
        self._source = LogSource(self._logs)

    def source(self) -> Source:
        return LogSource(self._logs)

    def records(self) -> dict[SourcePartition, list[Pair]]:
        logs = ((SourcePartition("things", at), log) for at, log in self._logs.items())
        return {
            each: [(entry.offset, entry.value) for entry in log.entries]
            for each, log in logs
            if log.entries
        }

    def grow(self) -> None:
        self._logs[1] = log_of("q", [3, 4, 8, 9, 12, 21], end=23)
        self._logs[4] = log_of("r", [0], end=1)


class Kafka(World):
    """Three partitions of a real client's topic, one of them empty."""

    unit_rows = 0
    made = 0

    def __init__(self, _: Path) -> None:
        self._values = {0: lines_of("p", 7), 1: lines_of("q", 5), 2: []}
        self._topic = self.create(partitions=len(self._values))
        for partition, values in self._values.items():
            self.send(values, partition=partition)

    @property
    def servers(self) -> str:
        """The addresses of the brokers."""
        return _cluster().servers

    def create(self, *, partitions: int) -> str:
        """Make a topic; return its name."""
        Kafka.made += 1
        name = f"things-{Kafka.made}"
        _cluster().create(name, partitions)
        return name

    def send(self, values: list[bytes], *, partition: int) -> None:
        """Append records to a partition."""
        _cluster().produce(self._topic, values, partition=partition)

    def source(self) -> Source:
        return KafkaSource(self._topic, {"bootstrap.servers": self.servers})

    def records(self) -> dict[SourcePartition, list[Pair]]:
        named = ((SourcePartition(self._topic, at), each) for at, each in self._values.items())
        return {partition: list(enumerate(values)) for partition, values in named if values}

    def grow(self) -> None:
        for partition, value in ((1, value_of("q", 5)), (2, value_of("r", 0))):
            self._values[partition].append(value)
            self.send([value], partition=partition)


@functools.cache
def _cluster() -> MockKafka:
    made = MockKafka()
    atexit.register(made.close)
    return made


def lines_of(name: str, count: int) -> list[bytes]:
    """Good records, and a bad one as every third."""
    return [value_of(name, at) for at in range(count)]


def value_of(name: str, at: int) -> bytes:
    return json_line(id=f"{name}{at:03}") if at % 3 else json_line(n="wrong")


def log_of(name: str, offsets: list[int], *, end: int) -> Log:
    return Log(entries=[Entry(at, value_of(name, at)) for at in offsets], end=end)


WORLDS: dict[str, Callable[[Path], World]] = {"files": Files, "log": Topic, "kafka": Kafka}
