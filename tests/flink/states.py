"""Checkpoints and savepoints of the job `c0`, as files that Flink leaves in the warehouse of a lake."""

from pathlib import Path

from headrace.tables.lake import OpenLake


def saved_in(lake: OpenLake) -> str:
    return f"{lake.settings.warehouse_uri}/savepoints"


def savepoint(lake: OpenLake, name: str, head: bytes | None) -> str:
    """Write a savepoint, with what its last file begins with, if that is there; return where."""
    location = f"{saved_in(lake)}/{name}"
    folder = Path(location.removeprefix("file://"))
    folder.mkdir(parents=True)
    if head is not None:
        (folder / "_metadata").write_bytes(head)
    return location


def savepoint_of(number: int) -> bytes:
    """Return what a savepoint's metadata begins with."""
    return bytes.fromhex("4960672d") + (4).to_bytes(4) + number.to_bytes(8)


def checkpoint(lake: OpenLake, number: int) -> str:
    """Write a checkpoint of the job; return where."""
    location = f"{lake.settings.warehouse_uri}/c0/chk-{number}"
    folder = Path(location.removeprefix("file://"))
    folder.mkdir(parents=True)
    (folder / "_metadata").touch()
    return location
