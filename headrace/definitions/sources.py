"""Where a stream's records come from: files below the data folder, or a Kafka topic."""

import re
from pathlib import PurePosixPath
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Field, Tag, ValidationInfo, field_validator

from headrace.definitions.base import Declaration

_NAME_BYTES_MAX = 255
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")


class FileSource(Declaration):
    """Files that match a pattern below the lake's data folder."""

    noun: ClassVar[str] = "a source"
    misnomers: ClassVar[dict[str, str]] = {
        "complete": "complete_files",
        "compressed": "compression",
        "codec": "compression",
    }

    files: str
    """A pattern below the data folder; `**` stands for any number of folders. Example:
    `impressions/*.jsonl`"""
    complete_files: bool = False
    """Files are not appended to after they appear. Then the last line of a text file is read even
    without a newline; otherwise it is read once it has one. Example: `true`"""
    compression: Literal["gzip", "zstd", "bz2", "zip"] | None = None
    """How files are compressed; they are complete in any case, and a zip archive holds one file of
    data. Example: `gzip`"""
    on_bad_file: Literal["stop", "skip"] = "stop"
    """What a file that cannot be read, or is not what the contract says, does: it stops the stream,
    or the others are taken (`skip`), and the bad one is reported and tried again by each run.
    Example: `skip`"""

    @property
    def are_complete(self) -> bool:
        """Whether files are not appended to after they appear."""
        return self.complete_files or self.compression is not None

    @property
    def text(self) -> str:
        """What to call it: the pattern."""
        return self.files

    @field_validator("files")
    @classmethod
    def _stays_inside(cls, pattern: str) -> str:
        path = PurePosixPath(pattern)
        if not pattern or path.is_absolute() or ".." in path.parts or "\\" in pattern:
            msg = (
                f"`{pattern}` must be a pattern below the data folder, as in `impressions/*.jsonl`"
            )
            raise ValueError(msg)
        for part in path.parts or (pattern,):
            if not _is_glob(part):
                msg = f"`{pattern[:80]}` is not a pattern: `{part[:80]}` names no file or folder"
                raise ValueError(msg)
        return pattern


def _is_glob(part: str) -> bool:
    """Whether one part of a pattern can match a name; `**` can only stand alone."""
    fits = 0 < len(part.encode(errors="replace")) <= _NAME_BYTES_MAX and part.isprintable()
    return fits and part not in (".", "..") and ("**" not in part or part == "**")


class Topic(Declaration):
    """A Kafka topic; the profile says which brokers have it."""

    noun: ClassVar[str] = "a topic"
    misnomers: ClassVar[dict[str, str]] = {"name": "topic", "schema": "schema_file"}

    topic: str
    """The topic's name. Example: `impressions`"""
    framing: Literal["none", "registry"] = "none"
    """`registry` says that each value begins with a zero byte and the id of its schema, as
    Confluent's serializers write it. It is declared, never guessed: a plain value may begin so
    too. Example: `registry`"""
    schema_file: str | None = None
    """The schema of all values without framing, a file below the declarations folder: an Avro
    schema, or a Protobuf descriptor set. Example: `schemas/impression.avsc`"""
    schemas: dict[int, str] = Field(default_factory=dict[int, str])
    """Files with the schemas of ids, in place of the profile's registry. Example: `{7:
    schemas/impression-7.avsc}`"""
    message: str | None = None
    """The Protobuf message that values are. Example: `shop.Impression`"""
    tombstones: Literal["dead_letter", "ignore"] = "dead_letter"
    """What records without a value are: dead letters, or left out and counted as offsets without a
    record (`ignore`). Example: `ignore`"""

    @field_validator("topic")
    @classmethod
    def _is_a_topic(cls, name: str) -> str:
        if not _TOPIC.fullmatch(name) or name in (".", ".."):
            msg = f"`{name[:80]}` is not the name of a topic: letters, digits, `.`, `_` and `-`"
            raise ValueError(msg)
        return name

    @field_validator("schema_file", "schemas")
    @classmethod
    def _fits_the_framing(cls, value: Any, info: ValidationInfo) -> Any:  # noqa: ANN401  (of two fields)
        framing = info.data.get("framing")
        if value and (framing == "registry") != (info.field_name == "schemas"):
            has = "`schemas`" if framing == "registry" else "`schema_file`"
            msg = f"with `framing: {framing}` schemas are named by {has}"
            raise ValueError(msg)
        return value


class KafkaSource(Declaration):
    """One topic of the profile's Kafka brokers."""

    noun: ClassVar[str] = "a source"

    kafka: Topic
    """The topic. Example: `{topic: impressions}`"""

    @property
    def text(self) -> str:
        """What to call it: the topic."""
        return f"topic {self.kafka.topic}"


def _kind(value: object) -> str:
    """Tell sources apart by their keys, so that an error is about the one that was meant."""
    if isinstance(value, KafkaSource):
        return "kafka"
    return "kafka" if isinstance(value, dict) and "kafka" in value else "files"


DeclaredSource = Annotated[
    Annotated[FileSource, Tag("files")] | Annotated[KafkaSource, Tag("kafka")],
    Discriminator(_kind),
]
