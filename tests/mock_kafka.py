"""A Kafka cluster without a JVM: the protocol server inside librdkafka, driven through its C functions.

It speaks Kafka's protocol on loopback ports, so other processes can use it. It keeps about 5 MB a
partition and has no transactions' markers: what needs more runs on a real broker (`tests/cluster`).
"""

import ctypes
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import confluent_kafka
from confluent_kafka import Producer

FETCH, METADATA, LIST_OFFSETS = 1, 3, 2  # keys of requests
NOT_LEADER, OFFSET_OUT_OF_RANGE, CORRUPT = 6, 1, 2
_PRODUCER = 0
_ERROR_CHARS = 512


def _library() -> ctypes.CDLL:
    package = Path(confluent_kafka.__file__).parent
    (found,) = package.parent.glob("confluent_kafka.libs/librdkafka-*")
    library = ctypes.CDLL(str(found))
    for name in ("rd_kafka_conf_new", "rd_kafka_new", "rd_kafka_mock_cluster_new"):
        getattr(library, name).restype = ctypes.c_void_p
    library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
    library.rd_kafka_conf_set.restype = ctypes.c_int
    return library


class MockKafka:
    """A cluster of this process; close it, or use it as a context manager."""

    def __init__(self, brokers: int = 1) -> None:
        self._lib = _library()
        error = ctypes.create_string_buffer(_ERROR_CHARS)
        conf = ctypes.c_void_p(self._lib.rd_kafka_conf_new())
        self._lib.rd_kafka_conf_set(conf, b"log_level", b"0", error, _ERROR_CHARS)
        handle = self._lib.rd_kafka_new(_PRODUCER, conf, error, _ERROR_CHARS)
        assert handle, error.value.decode()
        self._handle = ctypes.c_void_p(handle)
        self._cluster = ctypes.c_void_p(self._lib.rd_kafka_mock_cluster_new(self._handle, brokers))
        self._ask("set_controller_id", 1)
        self._made: list[Producer] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def servers(self) -> str:
        """The addresses of the brokers."""
        return self._lib.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()

    def close(self) -> None:
        """Stop the brokers; idempotent."""
        if self._cluster:
            self._made.clear()
            self._lib.rd_kafka_mock_cluster_destroy(self._cluster)
            self._lib.rd_kafka_destroy(self._handle)
            self._cluster = ctypes.c_void_p()

    def create(self, topic: str, partitions: int = 1) -> None:
        """Make a topic, with a new id if one of that name was deleted."""
        self._ask("topic_create", topic.encode(), partitions, 1)

    def delete(self, topic: str) -> None:
        """Delete a topic with all records."""
        self._ask("topic_delete", topic.encode())

    def delete_records(self, topic: str, partition: int, before: int) -> None:
        """Delete the records below an offset, as retention does."""
        self._ask("partition_delete_records", topic.encode(), partition, ctypes.c_int64(before))

    def lead(self, topic: str, partition: int, broker: int) -> None:
        """Move the leadership of a partition."""
        self._ask("partition_set_leader", topic.encode(), partition, broker)

    def down(self, broker: int) -> None:
        """Close a broker's port and connections."""
        self._ask("broker_set_down", broker)

    def up(self, broker: int) -> None:
        """Open them again."""
        self._ask("broker_set_up", broker)

    def fail(self, request: int, errors: Sequence[int]) -> None:
        """Answer the next requests of a kind with these errors."""
        values = (ctypes.c_int * len(errors))(*errors)
        self._lib.rd_kafka_mock_push_request_errors_array(
            self._cluster, ctypes.c_int16(request), ctypes.c_size_t(len(errors)), values
        )

    def produce(
        self,
        topic: str,
        values: Sequence[bytes | None],
        *,
        partition: int = 0,
        first_ms: int = 1_574_553_600_000,
        **more: Any,  # noqa: ANN401  (what a producer takes)
    ) -> None:
        """Append records, one millisecond apart."""
        if not self._made:
            self._made.append(Producer({"bootstrap.servers": self.servers, "log_level": 0}))
        (producer,) = self._made
        for at, value in enumerate(values):
            while True:
                try:
                    producer.produce(
                        topic, value, partition=partition, timestamp=first_ms + at, **more
                    )
                    break
                except BufferError:
                    producer.poll(0.1)
        left = producer.flush(20)
        assert not left, f"{left} records were not taken"

    def produce_one_batch(self, topic: str, values: Sequence[bytes]) -> None:
        """Append records as one compressed batch, however large it is without compression."""
        producer = Producer(
            {
                "bootstrap.servers": self.servers,
                "log_level": 0,
                "compression.type": "zstd",
                "linger.ms": 60_000,  # until all are there: `flush` does not wait for it
                "batch.size": 2**31 - 1,
                "message.max.bytes": 1_000_000_000,
            }
        )
        for value in values:
            producer.produce(topic, value, partition=0)
        left = producer.flush(20)
        assert not left, f"{left} records were not taken"

    def _ask(self, name: str, *arguments: object) -> None:
        code = getattr(self._lib, f"rd_kafka_mock_{name}")(self._cluster, *arguments)
        assert not code, f"{name}{arguments} failed with {code}"
