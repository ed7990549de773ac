"""Keyed tables of a stream: the newest row of each key, which Flink keeps in Paimon."""

from typing import Any, ClassVar, Literal

from headrace.definitions.base import Declaration, Name, Table

PAIMON = "paimon"


class KeyedForm(Declaration):
    """A Paimon table with one row for each key of a stream."""

    noun: ClassVar[str] = "`keyed`"
    misnomers: ClassVar[dict[str, str]] = {
        "table": "paimon",
        "merge_engine": "merge",
        "sequence_field": "sequence",
    }

    paimon: Table | None = None
    """Its name in the Paimon warehouse, `database.table`; that of the stream's table by default.
    Example: `shop.users`"""
    merge: Literal["deduplicate", "partial-update"] = "deduplicate"
    """What becomes of rows with one key: the newest counts, or each of its values that is not null
    (`partial-update`). Example: `partial-update`"""
    sequence: Name | None = None
    """The field whose greatest value is the newest row; the event time by default. Rows that are equal
    in it are in the order of their source. Example: `updated_at`"""
    buckets: int = 1
    """Into how many buckets its keys are divided; each has one writer. Example: `4`"""


def keyed_of(value: object) -> object:
    """Read a declared `keyed`, where `paimon` alone means all defaults.

    Raises:
        ValueError: If it is another word.

    """
    if value == PAIMON:
        return KeyedForm()
    if not isinstance(value, str):
        return value
    msg = f"`{value}` must be `paimon`, or `{{merge: …, sequence: …}}`"
    raise ValueError(msg)


def keyed_text(value: KeyedForm | None) -> Any:  # noqa: ANN401  (JSON: a text or a mapping)
    """Write `keyed` as it is declared."""
    if value is None or value == KeyedForm():
        return None if value is None else PAIMON
    return value.model_dump(exclude_defaults=True, mode="json")
