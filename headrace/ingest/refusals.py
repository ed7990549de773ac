"""Counts why a contract refuses records: by code and field, with the least record of each, whatever order they come in."""

from dataclasses import dataclass, replace

from headrace.ingest.decoding.decoded import Violation
from headrace.ingest.letters import Coordinates


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Records that the contract refuses for one reason; `example` is the least of them."""

    code: str
    field: str | None
    count: int
    reason: str
    example: Coordinates


class Refusals:
    """Counts records, and those that a contract refuses by code and field."""

    def __init__(self) -> None:
        self.records = 0
        self._found: dict[tuple[str, str | None], Refusal] = {}

    def add(self, violation: Violation, at: Coordinates) -> None:
        """Count a record that is refused."""
        key = (violation.code, violation.field)
        found = Refusal(
            code=violation.code,
            field=violation.field,
            count=1,
            reason=violation.reason,
            example=at,
        )
        before = self._found.get(key)
        if before is not None:
            found = replace(found if at < before.example else before, count=before.count + 1)
        self._found[key] = found

    def most_first(self) -> tuple[Refusal, ...]:
        """Return the reasons, the most frequent first."""
        return tuple(
            sorted(self._found.values(), key=lambda each: (-each.count, each.code, str(each.field)))
        )
