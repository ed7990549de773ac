"""The lockfile: everything that says which data a dataset version is, as canonical JSON."""

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from headrace.datasets.profile import ColumnProfile
from headrace.errors import LockfileError, LockfileReason

FORMAT_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class LabelCount:
    """Samples whose label has a `value` of one sign: `null`, `nan`, `zero`, `positive`, `negative`."""

    label: str
    state: str
    value: str
    rows: int


@dataclass(frozen=True, kw_only=True)
class Pin:
    """A tag that keeps one snapshot of one table alive for this version."""

    table: str
    snapshot_id: int
    tag: str


@dataclass(frozen=True, kw_only=True)
class LockedDay:
    """One day of a version: what it holds and what it was computed from."""

    day: dt.date
    rows: int
    content_hash: str
    inputs: Mapping[str, int]
    watermarks: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Lockfile:
    """One published dataset version. Equal lockfiles have equal text, byte for byte.

    `filter_labels` is `mature` if days with a pending label were left out, `any` if allowed;
    `left_out` lists the days of the sample table that were left out for it. `definition` is the
    full recipe of the samples and `code` its hash. Watermarks are epoch microseconds; the version's is the least of
    its days'. `profiles` say what entities, exposure columns and features look like; lockfiles of
    earlier releases have none.
    """

    name: str
    version: int
    table: str
    snapshot_id: int
    first_day: dt.date
    last_day: dt.date
    filter_labels: str
    left_out: tuple[dt.date, ...]
    columns: Mapping[str, str]
    approximate: tuple[str, ...]
    code: str
    definition: Mapping[str, Any]
    watermarks: Mapping[str, int]
    rows: int
    labels: tuple[LabelCount, ...]
    content_hash: str
    days: tuple[LockedDay, ...]
    pins: tuple[Pin, ...]
    created_at: dt.datetime
    headrace_version: str
    profiles: Mapping[str, ColumnProfile] = field(default_factory=dict[str, ColumnProfile])
    format_version: int = field(default=FORMAT_VERSION)

    @property
    def tag(self) -> str:
        """The tag on the sample table, and the first one on every input."""
        return tag_name(self.name, self.version)

    @property
    def positives(self) -> int:
        """Samples with a positive label, summed over labels."""
        return sum(count.rows for count in self.labels if count.value == "positive")

    def same_content(self, other: "Lockfile") -> bool:
        """Whether both publish the same rows under the same definition."""
        return (self.content_hash, self.code, self.rows) == (
            other.content_hash,
            other.code,
            other.rows,
        ) and [day.day for day in self.days] == [day.day for day in other.days]

    def to_json(self) -> str:
        """Write the lockfile: sorted keys, two spaces, ISO dates, one newline at the end."""
        said = asdict(self)
        if not self.profiles:  # so that one of an earlier release is written as it was read
            del said["profiles"]
        return json.dumps(said, indent=2, sort_keys=True, default=_text) + "\n"

    @classmethod
    def from_json(cls, text: str, *, source: str) -> "Lockfile":
        """Read a lockfile; `source` names it in errors.

        Raises:
            LockfileError: If it is not JSON, of another format version, or lacks something.

        """
        try:
            said = json.loads(text)
            found = said["format_version"]
        except (ValueError, KeyError, TypeError) as error:
            detail, reason = "it is not the JSON of a lockfile", LockfileReason.NOT_JSON
            raise LockfileError(source, detail, reason=reason) from error
        if found != FORMAT_VERSION:
            detail = f"it has format version {found}, this headrace reads {FORMAT_VERSION}"
            raise LockfileError(source, detail, reason=LockfileReason.FORMAT_VERSION)
        try:
            return cls(**_typed(said))
        except (ValueError, KeyError, TypeError) as error:
            detail = f"it is incomplete or has unknown keys: {error}"
            raise LockfileError(source, detail, reason=LockfileReason.WRONG_KEYS) from error


def tag_name(name: str, version: int, *, nth: int = 1) -> str:
    """Name a version's tag: `ctr-v1`, and `ctr-v1-2` for a second snapshot of one table."""
    return f"{name}-v{version}" + ("" if nth == 1 else f"-{nth}")


def _typed(said: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **said,
        "first_day": dt.date.fromisoformat(said["first_day"]),
        "last_day": dt.date.fromisoformat(said["last_day"]),
        "left_out": tuple(dt.date.fromisoformat(day) for day in said["left_out"]),
        "approximate": tuple(said["approximate"]),
        "labels": tuple(LabelCount(**count) for count in said["labels"]),
        "days": tuple(_day(day) for day in said["days"]),
        "pins": tuple(Pin(**pin) for pin in said["pins"]),
        "profiles": {
            name: ColumnProfile(**each) for name, each in said.get("profiles", {}).items()
        },
        "created_at": dt.datetime.fromisoformat(said["created_at"]),
    }


def _day(said: Mapping[str, Any]) -> LockedDay:
    values: dict[str, Any] = {**said, "day": dt.date.fromisoformat(said["day"])}
    return LockedDay(**values)


def _text(value: object) -> str:
    if isinstance(value, dt.date):  # datetime is a date too
        return value.isoformat()
    msg = f"a lockfile cannot hold {value!r}"
    raise TypeError(msg)
