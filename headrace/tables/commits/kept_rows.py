"""Rows that a job of Flink keeps in a Paimon table too, which would not hear of their removal."""

import json
from collections.abc import Mapping

from headrace.definitions.keyed_form import SUBJECT
from headrace.definitions.properties import OWNER_PREFIX
from headrace.errors import KeyedRowsError

KEEPS_ROWS = frozenset({"append", "replace"})  # operations of commits that remove no row
_OF_KEYED = OWNER_PREFIX + SUBJECT
_FLINK = "flink"


def refuse_removal(table: str, properties: Mapping[str, str]) -> None:
    """Refuse to remove rows of a table that a job follows which keeps the newest of each key.

    Raises:
        KeyedRowsError: If there is one.

    """
    for key, value in properties.items():
        if key.startswith(_OF_KEYED) and json.loads(value).get("by") == _FLINK:
            raise KeyedRowsError(table, subject=key.removeprefix(OWNER_PREFIX))
