"""Schemas of values: one for all, or by the ids that framed values name, from files or from a registry."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from headrace.errors import SchemaChangedError


@dataclass(frozen=True, kw_only=True)
class SchemaText:
    """A schema as it is kept, and those it refers to, each after what it refers to itself."""

    text: str
    references: tuple[str, ...] = ()

    @property
    def hash(self) -> str:
        """What tells it from another schema, those it refers to included."""
        whole = "\0".join((self.text, *self.references))
        return hashlib.sha256(whole.encode()).hexdigest()[:16]


class SchemaStore(Protocol):
    """Where the texts of schemas come from."""

    def text(self, schema_id: int) -> SchemaText | None:
        """Return the text of a schema, None if there is none of that id.

        Raises:
            SchemaUnavailableError: If the store does not answer.

        """
        ...

    def ids(self) -> tuple[int, ...]:
        """Return the ids of schemas that values of the topic are expected to name.

        Raises:
            SchemaUnavailableError: If the store does not answer.

        """
        ...


@dataclass(kw_only=True)
class Schemas:
    """The schemas of one topic, as far as they were met; decoders keep what they compiled of them.

    Args:
        topic: The topic.
        framed: Whether each value begins with a zero byte and the id of its schema.
        store: Where schemas of ids come from.
        single: The schema of all values without framing.
        message: The name of the Protobuf message.
        hashes: Of the schemas that were met, by id, also by earlier runs.

    """

    topic: str
    framed: bool = False
    store: SchemaStore | None = None
    single: bytes | None = None
    message: str | None = None
    hashes: dict[int, str] = field(default_factory=dict[int, str])
    _compiled: dict[int, Any] = field(default_factory=dict[int, Any])

    def compiled(self, schema_id: int, compile_: Callable[[SchemaText], Any]) -> Any | None:  # noqa: ANN401  (what decoders make)
        """Return what a decoder made of a schema, made once; None if there is no such schema.

        Raises:
            SchemaUnavailableError: If the store does not answer.
            SchemaChangedError: If the store gave another schema of that id before.

        """
        if schema_id not in self._compiled:
            text = None if self.store is None else self.store.text(schema_id)
            if text is not None:
                found = text.hash
                before = self.hashes.setdefault(schema_id, found)
                if before != found:
                    raise SchemaChangedError(
                        self.topic, schema_id=schema_id, expected=before, found=found
                    )
            self._compiled[schema_id] = None if text is None else compile_(text)
        return self._compiled[schema_id]

    def expect(self, hashes: Mapping[int, str]) -> None:
        """Take note of schemas that earlier runs met, before any value is decoded."""
        for schema_id, each in hashes.items():
            self.hashes.setdefault(schema_id, each)

    def once(self, compile_: Callable[[bytes], Any]) -> Any:  # noqa: ANN401  (what decoders make)
        """Return what a decoder made of the single schema, made once."""
        if -1 not in self._compiled:
            self._compiled[-1] = compile_(self.single or b"")
        return self._compiled[-1]
