"""A Kafka cluster for the tests of its source."""

from collections.abc import Iterator

import pytest

from tests.mock_kafka import MockKafka


@pytest.fixture
def cluster() -> Iterator[MockKafka]:
    with MockKafka(brokers=2) as made:
        yield made
