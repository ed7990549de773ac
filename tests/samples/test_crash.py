"""Kill -9 in the middle of a build, then build again: the same samples, none lost, none twice."""

import signal
from pathlib import Path

import pytest

from headrace.api import Lake
from headrace.samples.build import build
from headrace.samples.plan import plan_build
from tests.processes import exit_code, start
from tests.samples.factories import Shop, at, day, fill, sample_set, settings_in


def build_once(folder: Path) -> None:
    with Lake.open(settings_in(folder)) as lake:
        build(lake, sample_set())


def filled(lake: Lake) -> Shop:
    shop = fill(Shop.open(lake))
    shop.tap(("d1-morning", at(9, day=1), at(9, day=1), 1), watermark=at(12, day=1))
    return shop


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, object]]:
    """What a build gives that nobody disturbs."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with Lake.open(settings_in(folder)) as lake:
        shop = filled(lake)
        build(lake, sample_set())
        return shop.samples()


@pytest.mark.parametrize(
    "crash_at",
    [
        "commit.after_data_files:2",
        "commit.after_manifests:2",
        "commit.after_swap:2",  # committed but not on record: the day is built again
        "commit.after_record:2",
        "samples.after_partition:2",
    ],
)
def test_a_killed_build_is_completed_by_the_next_one(
    tmp_path: Path, undisturbed: dict[str, dict[str, object]], crash_at: str
) -> None:
    with Lake.open(settings_in(tmp_path)) as lake:
        filled(lake)

    assert exit_code(start(build_once, tmp_path, crash_at=crash_at)) == -signal.SIGKILL

    with Lake.open(settings_in(tmp_path)) as lake:
        shop = Shop(lake)
        survived = set(shop.samples())
        assert {"d0-morning", "d0-evening"} <= survived  # whole days only
        assert not {"d2-morning", "d2-evening"} & survived
        result = build(lake, sample_set())
        assert [done.day for done in result.built] == [day(1), day(2)]
        assert shop.samples() == undisturbed
        assert not plan_build(lake, sample_set())
