"""The root of the error tree, and what concerns settings and names."""

import datetime as dt
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any, Self, cast

from headrace.errors.known import said_of
from headrace.errors.reasons import SettingReason
from headrace.errors.remedy import Remedy, advised

_EXACT_MAX = 2**53  # beyond it a JSON number is not exact in every program
NOTHING_CHANGED = "nothing was changed"
NOTHING_COMMITTED = "nothing was committed"
RUN_AGAIN = Remedy(advice="run it again")
REPEAT = Remedy(advice="run the same command again")


class LakeError(Exception):
    """Something a user of the lake can act on.

    `message` says what happened, where, and what state is left; `remedy` says what to do next. The
    attributes of a subclass hold the facts, and `state` the state that is left, where it is more than
    obvious. Kinds of errors with several reasons say by `reason` which it is. `retryable` tells a caller whether running the same thing again can help. Passwords in
    addresses are taken out of the message and the facts.
    """

    retryable = False
    reason: str | None = None  # of `headrace.errors.reasons`, or the word of another program

    def __init__(self, what: str, *, state: str = "", remedy: Remedy | None = None) -> None:
        self.message = without_passwords(f"{what}; {state}" if state else what)
        self.state = state
        self.remedy: Remedy | None = remedy
        super().__init__(self.message)

    @property
    def code(self) -> str:
        """What programs know this kind of error by: `TableNotFoundError` is `table-not-found`."""
        return code_of(type(self))

    @property
    def facts(self) -> dict[str, Any]:
        """The attributes, as JSON has them; ids of snapshots are text, as they exceed 2^53."""
        return {
            name: _as_json(value, name=name)
            for name, value in vars(self).items()
            if not name.startswith("_")
            and name not in ("message", "reason", "remedy", "retryable")
            and (value or name != "state")
        }

    def of_stream(self, name: str) -> Self:
        """Name the stream whose reading ended so in what it advises, where that helps; returns itself."""
        _ = name
        return self

    def text(self, *, catalog: str | None = None) -> str:
        """Say what happened and what to do; the commands go to `catalog`, if it is given."""
        return advised(self.message, self.remedy, catalog=catalog)

    def to_dict(self, *, catalog: str | None = None) -> dict[str, Any]:
        """Write the error as `--output json` shows it: code, reason, message, facts and remedy."""
        return {
            "code": self.code,
            "reason": None if self.reason is None else str(self.reason),
            "message": self.message,
            "facts": self.facts,
            "remedy": None if self.remedy is None else self.remedy.on(catalog).to_dict(),
        }

    def __str__(self) -> str:
        """Say what happened and what to do."""
        return self.text()


def code_of(kind: type[LakeError]) -> str:
    """Derive the code of a class from its name, which is stable."""
    name = kind.__name__.removesuffix("Error")
    return "".join(f"-{at.lower()}" if at.isupper() else at for at in name).lstrip("-")


def without_passwords(text: str) -> str:
    """Replace the passwords of addresses like `postgresql://user:password@host/database`."""
    if "://" not in text:
        return text
    return " ".join(_without_password(word) for word in text.split(" "))


def _without_password(word: str) -> str:
    scheme, separator, rest = word.partition("://")
    authority, slash, path = rest.partition("/")
    access, at, host = authority.rpartition("@")
    user, colon, _ = access.partition(":")
    if not separator or not at or not colon:
        return word
    return f"{scheme}://{user}:***@{host}{slash}{path}"


def _as_json(value: object, *, name: str = "") -> Any:  # noqa: ANN401  (what JSON can hold)
    if isinstance(value, str):
        return without_passwords(value)
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        return str(value) if name.endswith("snapshot_id") or abs(value) > _EXACT_MAX else value
    if isinstance(value, Mapping):
        pairs = cast("Mapping[object, object]", value)
        return {str(key): _as_json(each) for key, each in pairs.items()}
    if isinstance(value, list | tuple | AbstractSet):
        return [_as_json(each) for each in cast("tuple[object, ...]", value)]
    return value.isoformat() if isinstance(value, dt.date) else without_passwords(str(value))


class SettingsError(LakeError):
    """A setting is missing or has a value that is not allowed.

    `setting` names it: a variable, a key of the lake's file, or the file or extra that is missing.
    """

    def __init__(
        self, what: str, *, setting: str, reason: SettingReason, remedy: Remedy | None = None
    ) -> None:
        self.setting, self.reason = setting, reason
        super().__init__(what, remedy=remedy)


class ExtraMissingError(LakeError):
    """A package that is part of an optional extra is not installed."""

    def __init__(self, package: str, *, extra: str) -> None:
        self.package, self.extra = package, extra
        super().__init__(
            f"`{package}` is not installed",
            remedy=Remedy(advice=f"install `headrace[{extra}]`"),
        )


class DefinitionError(LakeError):
    """One or more declarations do not say something headrace understands."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


class NotDeclaredError(LakeError):
    """No declaration of this kind has the name."""

    def __init__(self, kind: str, name: str, *, known: tuple[str, ...]) -> None:
        self.kind, self.name, self.known = kind, name, known
        said = said_of(name, known, title="declared")
        super().__init__(f"there is no {kind} `{name}`; {said}")


class InvalidNameError(LakeError, ValueError):
    """A name is not a plain lower-case identifier."""

    def __init__(
        self,
        name: str,
        *,
        kind: str,
        rule: str = "a lower-case letter or `_`, then up to 62 lower-case letters, digits or `_`",
    ) -> None:
        self.name, self.kind = name, kind
        super().__init__(
            f"`{name[:80]}` is not a valid {kind}", remedy=Remedy(advice=f"use {rule}")
        )
