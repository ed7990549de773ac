"""Where schemas of ids come from: a registry that speaks Confluent's API, or files."""

import base64
import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headrace.errors import SchemaUnavailableError
from headrace.ingest.sources.schemas import SchemaText

_ANSWER_S_MAX = 10.0
_NOT_FOUND = 404
_REFERENCES_MAX = 100


class SchemaFiles:
    """Schemas in files, by their ids."""

    def __init__(self, topic: str, files: Mapping[int, Path]) -> None:
        self._topic, self._files = topic, files

    def text(self, schema_id: int) -> SchemaText | None:
        """Return a schema; None if no file is named for the id.

        Raises:
            SchemaUnavailableError: If the file cannot be read.

        """
        path = self._files.get(schema_id)
        if path is None:
            return None
        # a descriptor set is binary: one character a byte
        return SchemaText(text=read_schema(self._topic, path).decode("latin-1"))

    def ids(self) -> tuple[int, ...]:
        """Return the ids that files are named for."""
        return tuple(sorted(self._files))


class Registry:
    """A schema registry; only ids that are met are asked for, and what they refer to.

    Args:
        topic: The topic, for errors.
        url: The address.
        user: The user, empty without one.
        password: Its password.
        serialized: Ask for Protobuf schemas as descriptors, in base64.

    """

    def __init__(self, topic: str, url: str, *, user: str, password: str, serialized: bool) -> None:
        self._topic, self._url, self._serialized = topic, url.rstrip("/"), serialized
        self._access = base64.b64encode(f"{user}:{password}".encode()).decode() if user else ""

    def text(self, schema_id: int) -> SchemaText | None:
        """Return a schema with those it refers to; None if the registry does not know the id.

        Raises:
            SchemaUnavailableError: If the registry does not answer, or refuses.

        """
        query = "?format=serialized" if self._serialized else ""
        found = self._get(f"/schemas/ids/{schema_id}{query}")
        if found is None:
            return None
        references: list[str] = []
        self._collect(found, references)
        return SchemaText(text=str(found["schema"]), references=tuple(references))

    def ids(self) -> tuple[int, ...]:
        """Return the ids of all versions of the topic's subject, `<topic>-value`, as serializers name it.

        Raises:
            SchemaUnavailableError: If the registry does not answer, or refuses.

        """
        path = f"/subjects/{urllib.parse.quote(f'{self._topic}-value', safe='')}/versions"
        versions: Any = self._get(path) or ()
        found = [self._get(f"{path}/{int(each)}") for each in versions]
        return tuple(sorted(int(each["id"]) for each in found if each is not None))

    def _collect(self, schema: Mapping[str, Any], references: list[str]) -> None:
        for each in schema.get("references") or ():
            if len(references) >= _REFERENCES_MAX:
                msg = f"more than {_REFERENCES_MAX} references"
                raise self._failed(msg)
            subject = urllib.parse.quote(str(each["subject"]), safe="")
            path = f"/subjects/{subject}/versions/{int(each['version'])}"
            found = self._get(path)
            if found is None:
                msg = f"`{path}`, which a schema refers to, is not there"
                raise self._failed(msg)
            self._collect(found, references)
            if str(found["schema"]) not in references:
                references.append(str(found["schema"]))

    def _get(self, path: str) -> dict[str, Any] | None:
        request = urllib.request.Request(self._url + path)
        if self._access:
            request.add_header("Authorization", f"Basic {self._access}")
        try:
            with urllib.request.urlopen(request, timeout=_ANSWER_S_MAX) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            if error.code == _NOT_FOUND:
                return None
            msg = f"it answers {error.code} for `{path}`"
            raise self._failed(msg) from None
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise self._failed(str(error).strip()) from None

    def _failed(self, detail: str) -> SchemaUnavailableError:
        return SchemaUnavailableError(self._topic, where=self._url, detail=detail)


def read_schema(topic: str, path: Path) -> bytes:
    """Read the file of a schema.

    Raises:
        SchemaUnavailableError: If it cannot be read.

    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise SchemaUnavailableError(
            topic, where=str(path), detail=error.strerror or "it cannot be read"
        ) from error
