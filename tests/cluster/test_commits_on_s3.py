"""The proofs of commits where catalog and registry are on PostgreSQL and all files on S3."""

from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from headrace.config import Settings
from tests.postgres import postgres
from tests.proofs.operations import BUCKETS
from tests.proofs.test_servers import (
    test_a_host_killed_at_any_boundary_of_a_commit_is_made_up_for_by_another,
    test_any_operations_of_two_hosts_give_the_rows_of_one_order,
    test_eight_hosts_lose_and_double_nothing,
    test_eight_hosts_lose_and_double_nothing_in_a_minute,
    test_operations_of_two_hosts_give_the_rows_of_one_order,
)
from tests.s3 import S3Place, s3_server
from tests.servers import new_database, on_servers

__all__ = [
    "test_a_host_killed_at_any_boundary_of_a_commit_is_made_up_for_by_another",
    "test_any_operations_of_two_hosts_give_the_rows_of_one_order",
    "test_eight_hosts_lose_and_double_nothing",
    "test_eight_hosts_lose_and_double_nothing_in_a_minute",
    "test_operations_of_two_hosts_give_the_rows_of_one_order",
]


@pytest.fixture(scope="module")
def ground() -> Iterator[tuple[str, S3Place]]:
    with postgres() as uri, s3_server() as bucket:
        yield uri, bucket


@pytest.fixture
def shared(
    settings: Settings,
    ground: tuple[str, S3Place],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Generator[Settings]:
    server, bucket = ground
    place = bucket.below("commits")
    monkeypatch.setenv(BUCKETS, str(place.buckets))
    of_store = place.settings(tmp_path / "of_store")
    with new_database(server) as database:
        yield replace(
            on_servers(settings, database, folder=tmp_path),
            declared_warehouse=of_store.declared_warehouse,
            s3=of_store.s3,
        )
