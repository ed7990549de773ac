"""Kill -9 in the middle of a build, then build again: the same samples, none lost, none twice."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from headrace.samples.build import build
from headrace.tables.lake import Lake
from tests.samples.factories import Shop, at, day, fill, sample_set, settings_in

ROOT = Path(__file__).resolve().parents[2]


def build_and_die(folder: Path, *, crash_at: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.samples.build_once", str(folder)],
        cwd=ROOT,
        env={**os.environ, "HEADRACE_CRASH_AT": crash_at},
        check=False,
    )
    assert done.returncode == -signal.SIGKILL


@pytest.mark.parametrize(
    ("crash_at", "days_left"),
    [
        ("commit.after_data_files:2", 2),
        ("commit.after_manifests:2", 2),
        # committed but not on record: the day is built again, to the same rows
        ("commit.after_swap:2", 2),
        ("commit.after_record:2", 2),
        ("samples.after_partition:2", 2),
    ],
)
def test_a_killed_build_is_completed_by_the_next_one(
    shop_folder: Path, crash_at: str, days_left: int
) -> None:
    with Lake.open(settings_in(shop_folder)) as lake:
        shop = fill(Shop.open(lake))
        shop.tap(("d1-morning", at(9, day=1), at(9, day=1), 1), watermark=at(12, day=1))

    build_and_die(shop_folder, crash_at=crash_at)

    with Lake.open(settings_in(shop_folder)) as lake:
        table = lake.table("samples.taps")
        survived = {row["sample_id"] for row in table.head().to_arrow().to_pylist()}
        assert {"d0-morning", "d0-evening"} <= survived  # whole days only
        assert not {"d2-morning", "d2-evening"} & survived
        result = build(lake, sample_set())
        assert len(result.built) == days_left
        rebuilt = Shop(lake).samples()
        assert not build(lake, sample_set()).built
        undisturbed = build(lake, sample_set(samples="again", table="samples.again"))
        assert [done.day for done in undisturbed.built] == [day(0), day(1), day(2)]
        expected = lake.table("samples.again").head().to_arrow().to_pylist()
    assert rebuilt == {row["sample_id"]: row for row in expected}
