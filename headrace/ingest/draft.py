"""A drafted contract: its declaration, remarks about what was guessed, and both as YAML."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from headrace.ingest.draft_types import DraftField

_HISTORY = "history: known when it happened; leave it out for what arrives live"

_NO_TEXTS = ("true", "false", "null", "yes", "no", "on", "off", "y", "n")  # without quotes, in YAML


@dataclass(kw_only=True)
class Draft:
    """A contract of a sample, and remarks about it."""

    stream: str
    table: str
    files: str
    format: str
    fields: dict[str, DraftField]
    compression: str | None = None
    topic: Mapping[str, str] | None = None
    csv: dict[str, Any] = field(default_factory=dict[str, Any])
    documents: bool = False
    event_time: str = ""
    key: str | None = None
    notes: list[str] = field(default_factory=list[str])

    def declared(self) -> dict[str, Any]:
        """Return the contract as YAML has it."""
        said: dict[str, Any] = {
            "stream": self.stream,
            "table": self.table,
            "source": self._source(),
            "format": self.format,
        }
        if self.csv:
            said["csv"] = self.csv
        if self.documents:
            said["json"] = {"layout": "documents"}
        if self.key is not None:
            said["key"] = self.key
        said["event_time"] = self.event_time
        if self.topic is None:
            said["known_at"] = {"after_event": "0s"}
        said["fields"] = {name: self.field(name) for name in self.fields}
        return said

    def _source(self) -> dict[str, Any]:
        if self.topic is not None:
            return {"kafka": dict(self.topic)}
        if self.compression is not None:
            return {"files": self.files, "compression": self.compression}
        return {"files": self.files, "complete_files": True}

    def field(self, name: str) -> dict[str, Any]:
        """Return the declaration of one field."""
        found = self.fields[name]
        said: dict[str, Any] = {"type": found.type}
        if found.required:
            said["required"] = True
        if found.source != name:
            said["from"] = found.source
        return said | found.options


def text_of(draft: Draft) -> str:
    """Write a draft as YAML with its remarks."""
    said = draft.declared()
    source = draft.files if draft.topic is None else f"topic {draft.files}"
    lines = [f"# Drafted from {source}; every record of the sample is a row under it."]
    lines += [f"# {note}" for note in draft.notes]
    for name, value in said.items():
        if name != "fields":
            note = f"  # {_HISTORY}" if name == "known_at" else ""
            lines.append(f"{name}: {_flow(value)}{note}")
    lines.append("fields:")
    width = max(len(_flow(name)) for name in draft.fields) + 1
    for name, each in draft.fields.items():
        note = f"  # {'; '.join(each.notes)}" if each.notes else ""
        lines.append(f"  {_flow(name) + ':':<{width}} {_flow(draft.field(name))}{note}")
    return "\n".join(lines) + "\n"


def _flow(value: Any) -> str:  # noqa: ANN401  (YAML)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {_flow(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.]*", value):
        return json.dumps(value) if value.lower() in _NO_TEXTS else value
    return json.dumps(value, ensure_ascii=False)
