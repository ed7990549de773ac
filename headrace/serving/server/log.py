"""The serving log: what was answered, as files of a declared stream, which is ingested like any other.

A record is one row of one answer: the entities, the moment it was answered for, every value, and for
each view the row it came from. Requests never wait for it: what cannot be written in time is dropped
and counted.
"""

import datetime as dt
import json
import logging
import os
import queue
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from headrace.config import Settings
from headrace.definitions.stream import Stream
from headrace.errors import ServingLogError
from headrace.serving.values import plain
from headrace.serving.vectors import Vectors
from headrace.storage import durable

REQUIRED = ("request_id", "row", "served_at", "at", "sample_set", "values", "views")
_LOG = logging.getLogger(__name__)
_QUEUE_RECORDS = 20_000
_FILE_RECORDS = 50_000


def refuse_other(stream: Stream) -> None:
    """Refuse a stream that has not the fields of a serving log.

    Raises:
        ServingLogError: If it lacks one.

    """
    missing = [name for name in REQUIRED if name not in stream.fields]
    if missing:
        raise ServingLogError(stream.stream, lacks=f"the field `{missing[0]}`")


class ServingLog:
    """Writes records to files of a stream; each file appears when it is complete.

    Args:
        folder: Where the stream looks for files.
        fields: The fields of the contract; others are left out.
        every_s: How long a file is written to at most before it appears.

    """

    def __init__(self, folder: Path, *, fields: Sequence[str], every_s: float = 1.0) -> None:
        self._folder, self._fields, self._every_s = folder, frozenset(fields), every_s
        self._records: queue.Queue[dict[str, Any] | None] = queue.Queue(_QUEUE_RECORDS)
        self.written = self.dropped = 0
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._write, name="serving-log", daemon=True)
        self._thread.start()

    @classmethod
    def of(cls, settings: Settings, stream: Stream, *, every_s: float = 1.0) -> "ServingLog":
        """Open the log that a contract describes.

        Raises:
            ServingLogError: If the contract is not one of a serving log, naming what it lacks.

        """
        refuse_other(stream)
        pattern: str = getattr(stream.source, "files", "")  # other sources have none
        folder = PurePosixPath(pattern).parent
        if stream.format != "json" or not pattern or "*" in str(folder):
            raise ServingLogError(stream.stream, lacks="`format: json` and files of one folder")
        if not getattr(stream.source, "complete_files", False):
            raise ServingLogError(stream.stream, lacks="`complete_files: true`")
        folder = settings.data_dir / folder
        return cls(folder, fields=tuple(stream.fields), every_s=every_s)

    def note(
        self,
        sample_set: str,
        entities: Sequence[Mapping[str, object]],
        found: Vectors,
        *,
        scores: Sequence[float | None] | None = None,
        model: str | None = None,
        took_s: float | None = None,
    ) -> None:
        """Note one answer, and how long it took to find; returns at once."""
        request_id, served_at = uuid.uuid4().hex, dt.datetime.now(dt.UTC).isoformat()
        columns = found.columns()
        for row, given in enumerate(entities):
            record = {
                **given,
                "request_id": request_id,
                "row": row,
                "served_at": served_at,
                "at": found.at.isoformat(),
                "sample_set": sample_set,
                "score": None if scores is None else scores[row],
                "model": model,
                "took_ms": None if took_s is None else round(took_s * 1_000, 3),
                "values": json.dumps({name: plain(each[row]) for name, each in columns.items()}),
                "views": json.dumps(_rows_used(found, row)),
            }
            try:
                self._records.put_nowait({k: v for k, v in record.items() if k in self._fields})
            except queue.Full:
                self._drop(len(entities) - row)
                return

    def close(self) -> None:
        """Write what is noted, and let the last file appear."""
        self._records.put(None)
        self._thread.join()

    def _write(self) -> None:
        ended = False
        while not ended:
            first = self._records.get()
            if first is None:
                return
            batch, ended = self._batch(first)
            lines = [line for record in batch if (line := _line(record)) is not None]
            try:
                if lines:  # else there is no file to take
                    self._appear(lines)
                written = len(lines)
            except Exception:  # noqa: BLE001  (the next batch is tried again)
                _LOG.exception("records of the serving log are lost")
                written = 0
            self.written += written
            self._drop(len(batch) - written)

    def _drop(self, count: int) -> None:
        with self._lock:  # requests count too
            self.dropped += count

    def _batch(self, first: dict[str, Any]) -> tuple[list[dict[str, Any]], bool]:
        """Take what comes within `every_s`, and say whether it was the last."""
        batch = [first]
        until_s = time.monotonic() + self._every_s
        while len(batch) < _FILE_RECORDS:
            try:
                record = self._records.get(timeout=max(0.0, until_s - time.monotonic()))
            except queue.Empty:
                return batch, False
            if record is None:
                return batch, True
            batch.append(record)
        return batch, False

    def _appear(self, lines: Sequence[str]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        moment = dt.datetime.now(dt.UTC).strftime("%Y%m%dT%H%M%S%f")
        name = f"{moment}-{os.getpid()}-{uuid.uuid4().hex[:8]}.jsonl"
        draft = self._folder / f".{name}"  # a name that no pattern of a stream matches
        try:
            with draft.open("w", encoding="utf-8") as opened:
                opened.writelines(lines)
            durable.sync_content(str(draft))
            draft.rename(self._folder / name)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise


def _line(record: Mapping[str, Any]) -> str | None:
    """Write a record as a line; None if it has no form in JSON."""
    try:
        return json.dumps(record, allow_nan=False) + "\n"
    except (TypeError, ValueError):
        return None


def _rows_used(found: Vectors, row: int) -> dict[str, Any]:
    return {
        view.state.view: {
            "snapshot_id": str(view.state.snapshot_id),
            "as_of": view.state.as_of.isoformat(),
            "status": view.statuses[row],
            "event_time": None if (used := view.rows[row]) is None else used.event_time.isoformat(),
            "known_at": None if used is None else used.known_at.isoformat(),
            **({} if view.definition is None else {"definition": view.definition}),
        }
        for view in found.views
    }
