"""A store that does not answer is refused after one try, and one that answers, whatever it says, is not."""

import socket
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from headrace.errors import StoreUnavailableError
from headrace.storage.answering import refuse_silent
from tests.flink.replies import answering

WAREHOUSE = "s3://lake/warehouse"


def at(address: str) -> Mapping[str, str]:
    keys = {"s3.access-key-id": "a", "s3.secret-access-key": "b", "s3.region": "us-east-1"}
    return {"s3.endpoint": address, **keys}


@pytest.fixture
def nowhere() -> Iterator[str]:
    """Give an address at which nothing listens, nor will as long as it is held."""
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{made.getsockname()[1]}"


@pytest.mark.parametrize("status", [200, 403, 404, 503])
def test_a_store_that_answers_is_there_and_asked_once(status: int) -> None:
    key = "HEAD /lake/warehouse"
    with answering({key: [(status, b"")]}) as (address, asked):
        refuse_silent(WAREHOUSE, at(address))
    assert [each for each, _ in asked] == [key]


def test_a_store_that_does_not_answer_is_named_with_its_address(nowhere: str) -> None:
    with pytest.raises(StoreUnavailableError) as found:
        refuse_silent(WAREHOUSE, at(nowhere))
    assert nowhere in found.value.detail


def test_no_other_store_is_asked(nowhere: str, tmp_path: Path) -> None:
    refuse_silent(f"file://{tmp_path}", at(nowhere))
