"""A lockfile reads back as it was written, and says what is wrong with it otherwise."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from headrace.datasets.lockfile import Lockfile, tag_name
from headrace.datasets.publish import publish
from headrace.errors import LockfileError, LockfileReason
from tests.datasets.conftest import SAMPLE_SET, River
from tests.raising import refused


@pytest.fixture
def lock(three_days: River) -> Lockfile:
    return publish(three_days.lake, SAMPLE_SET).lock


def test_a_lockfile_reads_back_equal_and_byte_for_byte(lock: Lockfile) -> None:
    read = Lockfile.from_json(lock.to_json(), source="ctr-v1.lock.json")
    assert read == lock
    assert read.to_json() == lock.to_json()


def test_the_text_is_canonical(lock: Lockfile) -> None:
    text = lock.to_json()
    assert text == json.dumps(json.loads(text), indent=2, sort_keys=True) + "\n"
    backwards = {name: lock.columns[name] for name in sorted(lock.columns, reverse=True)}
    shuffled = replace(lock, columns=backwards)
    assert shuffled.to_json() == text


@pytest.mark.parametrize(
    ("damage", "reason", "named"),
    [
        (lambda said: said.update(format_version=2), LockfileReason.FORMAT_VERSION, "2"),
        (lambda said: said.pop("format_version"), LockfileReason.NOT_JSON, ""),
        (lambda said: said.pop("rows"), LockfileReason.WRONG_KEYS, "rows"),
        (lambda said: said.update(colour="blue"), LockfileReason.WRONG_KEYS, "colour"),
        (lambda said: said.update(first_day="yesterday"), LockfileReason.WRONG_KEYS, "yesterday"),
    ],
)
def test_a_damaged_or_unknown_lockfile_is_refused(
    lock: Lockfile, damage: Callable[[dict[str, Any]], object], reason: LockfileReason, named: str
) -> None:
    said = json.loads(lock.to_json())
    damage(said)
    with refused(LockfileError, reason=reason) as found:
        Lockfile.from_json(json.dumps(said), source="ctr-v1.lock.json")
    assert named in found.value.detail


def test_what_is_no_json_is_refused() -> None:
    with pytest.raises(LockfileError) as raised:
        Lockfile.from_json("not json", source="ctr-v1.lock.json")
    assert raised.value.source == "ctr-v1.lock.json"


def test_the_document_names_every_key(lock: Lockfile) -> None:
    text = Path("docs/formats/dataset-lockfile.md").read_text()
    assert [key for key in json.loads(lock.to_json()) if f"`{key}`" not in text] == []


def test_tags_are_numbered_from_the_second() -> None:
    assert [tag_name("ctr", 3, nth=nth) for nth in (1, 2)] == ["ctr-v3", "ctr-v3-2"]
