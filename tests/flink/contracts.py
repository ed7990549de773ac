"""Contracts of topics for tests, and where their topics and tables are said to be."""

from typing import Any

from headrace.definitions.stream import Stream
from headrace.flink.places import Places

PLACES = Places(
    topic={"properties.bootstrap.servers": "127.0.0.1:9092"},
    catalog={"type": "iceberg", "warehouse": "s3://lake/warehouse", "jdbc.password": "tangerine"},
)
EVERY_TYPE: dict[str, Any] = {
    "id": {"type": "string", "required": True},
    "at": {"type": "timestamptz", "required": True},
    "small": {"type": "int"},
    "large": {"type": "long"},
    "single": {"type": "float"},
    "double": {"type": "double"},
    "whole": {"type": "long"},
    "flag": {"type": "boolean"},
    "day": {"type": "date"},
    "price": {"type": "decimal(10,2)"},
    "seen_ms": {"type": "timestamptz", "unit": "ms"},
    "seen_us": {"type": "timestamptz", "unit": "us", "from": "seenAt"},
    "items": {"type": "list<long>"},
    "tags": {"type": "list<string>"},
    "flags": {"type": "list<boolean>"},
}


def contract(name: str = "things", **more: Any) -> Stream:  # noqa: ANN401  (of a contract)
    """Return a contract of the topic of its name, with every type that SQL reads."""
    said: dict[str, Any] = {
        "stream": name,
        "table": f"raw.{name}",
        "source": {"kafka": {"topic": name}},
        "format": "json",
        "key": "id",
        "event_time": "at",
        "fields": EVERY_TYPE,
    }
    return Stream(**(said | more))
