"""Proof: whatever a foreign table went through, maintenance leaves the rows of every ref as they are."""

from pathlib import Path

import pytest

from headrace.api import Lake
from headrace.config import Settings
from tests.proofs.foreign_lives import NAME, Life
from tests.tables.catalogs.test_foreign import sql_catalog


def live(seed: int, folder: Path) -> None:
    """Let a table change and be maintained in turn; rows by stock PyIceberg stay at every ref."""
    folder.mkdir()
    catalog = sql_catalog(folder)
    catalog.create_namespace("ns")
    life = Life(catalog, folder, seed=seed)
    for _ in range(life.chance.randint(2, 5)):
        life.change()
    life.upgrade()
    settings = Settings.without_lake(env={"HEADRACE_STATE_DIR": str(folder / "state")})
    with Lake.of(catalog, settings=settings) as lake:
        table = lake.table(NAME)
        for _ in range(3):
            if life.chance.random() < 0.5:
                life.delete_by_position(table)
            for _ in range(2):
                before = life.rows()
                done = life.maintain(table)
                assert life.rows() == before, (seed, done)
                own = sorted(map(repr, table.head().to_arrow().to_pylist()))
                assert own == before["main"], (seed, done)
            life.change()
    catalog.close()


@pytest.mark.parametrize("seed", range(2))
def test_maintenance_leaves_every_ref_as_it_was(tmp_path: Path, seed: int) -> None:
    live(seed, tmp_path / "life")


@pytest.mark.proof
@pytest.mark.parametrize("start", range(0, 240, 20))
def test_maintenance_leaves_every_ref_as_it_was_in_many_lives(tmp_path: Path, start: int) -> None:
    for seed in range(start, start + 20):
        live(1_000 + seed, tmp_path / str(seed))
