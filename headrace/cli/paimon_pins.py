"""`headrace paimon pin`: keep in Paimon what a dataset version was made of."""

import typer

from headrace.cli.nouns import add
from headrace.cli.output import Format, OutputOption, output_of
from headrace.cli.paimon_options import WarehouseOption, open_warehouse
from headrace.cli.versions import DatasetName, DatasetVersion, version_number


def register(noun: typer.Typer) -> None:
    """Add the command to the noun `paimon`."""
    add(noun, "pin", pin, "paimon pin ctr v1", "paimon pin ctr --output json")


def pin(
    name: DatasetName,
    version: DatasetVersion = None,
    *,
    warehouse: WarehouseOption = None,
    output: OutputOption = Format.TEXT,
) -> None:
    """Tag the Paimon snapshots that a dataset version's tables were taken from; again changes nothing.

    The tag has the name of the version's own tags (`ctr-v1`), and keeps files from Paimon's expiry.
    """
    from headrace.cli.lakes import look_at_lake
    from headrace.datasets.paimon_pins import apply_pins, plan_pins
    from headrace.datasets.versions import find_lockfile

    with look_at_lake() as lake:
        lock = find_lockfile(lake, name, version_number(version))
        pins = plan_pins(lake, lock)
    if pins:
        apply_pins(open_warehouse(warehouse), pins)
    out = output_of(output)
    columns = ("table", "paimon", "snapshot_id", "tag")
    rows = [{name: getattr(each, name) for name in columns} for each in pins]
    if rows or output is Format.JSON:
        out.table(rows, columns=columns)
    else:
        out.say(f"{name} v{lock.version} has no table that was taken from Paimon")
