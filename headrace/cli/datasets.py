"""`headrace datasets`: publish, list, show, verify and rebuild dataset versions."""

import datetime as dt
import json
from typing import TYPE_CHECKING, Annotated

import typer

from headrace.cli.declared import sample_set_named
from headrace.cli.diff import diff
from headrace.cli.nouns import add, add_noun
from headrace.cli.output import Format, OutputOption, output_of, progress
from headrace.cli.versions import DatasetName, DatasetVersion, version_number

if TYPE_CHECKING:
    from headrace.datasets.lockfile import Lockfile
    from headrace.datasets.rebuild import RebuiltDay

_HASH_SHOWN = 12
_DAY = ["%Y-%m-%d"]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    noun = add_noun(
        app,
        "datasets",
        help="Publish versions of sample sets, and prove that they still say the same.",
    )
    add(
        noun,
        "publish",
        publish,
        "datasets publish ctr",
        "datasets publish ctr --from 2019-11-24 --to 2019-11-29",
    )
    add(noun, "list", list_versions, "datasets list", "datasets list ctr --output json")
    add(noun, "show", show, "datasets show ctr", "datasets show ctr v1 --output json")
    add(noun, "diff", diff, "datasets diff ctr v1 v2", "datasets diff ctr v1 --output json")
    add(noun, "verify", verify, "datasets verify ctr v1")
    add(noun, "rebuild", rebuild, "datasets rebuild ctr v1")


def publish(
    name: DatasetName,
    *,
    first: Annotated[
        dt.datetime | None, typer.Option("--from", formats=_DAY, help="First day of the range.")
    ] = None,
    last: Annotated[
        dt.datetime | None, typer.Option("--to", formats=_DAY, help="Last day of the range.")
    ] = None,
    version: Annotated[
        str | None, typer.Option("--version", help="The version wanted; the next one if not given.")
    ] = None,
    allow_pending: Annotated[
        bool, typer.Option("--allow-pending", help="Take days whose labels are still pending.")
    ] = False,
    output: OutputOption = Format.TEXT,
) -> None:
    """Publish the samples as a version: pinned, hashed and reproducible.

    Without a range it takes every day whose labels have all matured. The same content again makes
    no new version.
    """
    from headrace.config import Settings
    from headrace.datasets.publish import publish as publish_version
    from headrace.datasets.versions import lockfile_path
    from headrace.tables.lake import OpenLake

    settings = Settings.load()
    sample_set = sample_set_named(name, settings)
    with OpenLake.existing(settings) as lake:
        done = publish_version(
            lake,
            sample_set,
            first_day=None if first is None else first.date(),
            last_day=None if last is None else last.date(),
            version=version_number(version),
            allow_pending=allow_pending,
        )
    lock, out = done.lock, output_of(output)
    path = lockfile_path(settings, lock.name, lock.version)
    out.facts({"outcome": done.outcome, "path": path, **json.loads(lock.to_json())})
    said = "" if done.outcome == "published" else "  unchanged: this content is published already"
    out.say(f"{_summary(lock)}{said}")
    out.say(f"  days      {lock.days[0].day} to {lock.days[-1].day} ({len(lock.days)})")
    if lock.left_out:
        days = ", ".join(day.isoformat() for day in lock.left_out)
        out.say(f"  left out  {days} (labels still pending)")
    for pin in lock.pins:
        out.say(f"  pinned    {pin.table}@{pin.snapshot_id}  {pin.tag}")
    out.say(f"  lockfile  {path}")


def list_versions(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="One dataset; all if not given.")
    ] = None,
    *,
    output: OutputOption = Format.TEXT,
) -> None:
    """List the published versions."""
    from headrace.config import Settings
    from headrace.datasets.versions import list_datasets
    from headrace.tables.lake import OpenLake

    with OpenLake.existing(Settings.load()) as lake:
        locks = list_datasets(lake, name)
    rows = [
        {
            "dataset": lock.name,
            "version": lock.version,
            "rows": lock.rows,
            "positives": lock.positives,
            "days": len(lock.days),
            "first_day": lock.days[0].day,
            "last_day": lock.days[-1].day,
            "content_hash": lock.content_hash,
            "table": lock.table,
            "snapshot_id": str(lock.snapshot_id),
            "created_at": lock.created_at,
        }
        for lock in locks
    ]
    columns = ("dataset", "version", "rows", "positives", "first_day", "last_day", "content_hash")
    output_of(output).table(
        rows,
        columns=(*columns, "created_at"),
        spare=("content_hash",),
        empty="no version is published yet",
    )


def show(
    name: DatasetName, version: DatasetVersion = None, *, output: OutputOption = Format.TEXT
) -> None:
    """Show one version: its range, labels, days and what it pins. JSON is the lockfile itself."""
    from headrace.config import Settings
    from headrace.datasets.versions import find_lockfile
    from headrace.tables.lake import OpenLake

    with OpenLake.existing(Settings.load()) as lake:
        lock = find_lockfile(lake, name, version_number(version))
    out = output_of(output)
    if output is Format.JSON:
        out.record(json.loads(lock.to_json()))
        return
    out.record(
        {
            "dataset": f"{lock.name} v{lock.version}",
            "rows": lock.rows,
            "positives": lock.positives,
            "content_hash": lock.content_hash,
            "definition": lock.code,
            "labels_allowed": lock.filter_labels,
            "left_out": [day.isoformat() for day in lock.left_out] or None,
            "approximate": list(lock.approximate) or None,
            "created_at": lock.created_at,
        }
    )
    out.say("")
    counts = [
        {"label": c.label, "state": c.state, "value": c.value, "rows": c.rows} for c in lock.labels
    ]
    out.table(counts, columns=("label", "state", "value", "rows"))
    out.say("")
    days = [{"day": d.day, "rows": d.rows, "content_hash": d.content_hash} for d in lock.days]
    out.table(days, columns=("day", "rows", "content_hash"))
    out.say("")
    pins = [{"table": p.table, "snapshot": str(p.snapshot_id), "tag": p.tag} for p in lock.pins]
    out.table(pins, columns=("table", "snapshot", "tag"))


def verify(
    name: DatasetName, version: DatasetVersion = None, *, output: OutputOption = Format.TEXT
) -> None:
    """Read every pinned row again and compare with the lockfile; fails if anything differs."""
    from headrace.config import Settings
    from headrace.datasets.verify import verify as verify_version
    from headrace.tables.lake import OpenLake

    with OpenLake.existing(Settings.load()) as lake:
        done = verify_version(lake, name, version_number(version))
    out = output_of(output)
    lock = done.lock
    facts = {"dataset": lock.name, "version": lock.version, "rows": done.rows}
    out.facts({**facts, "files": done.files, "content_hash": lock.content_hash})
    out.say(f"{_summary(lock)}  verified: {done.files} files, {len(lock.days)} days")


def rebuild(
    name: DatasetName, version: DatasetVersion = None, *, output: OutputOption = Format.TEXT
) -> None:
    """Compute the version again from its pinned inputs; fails if a day comes out differently."""
    from headrace.config import Settings
    from headrace.datasets.rebuild import rebuild as rebuild_version
    from headrace.datasets.versions import find_lockfile
    from headrace.tables.lake import OpenLake

    with OpenLake.existing(Settings.load()) as lake:
        lock = find_lockfile(lake, name, version_number(version))
        with progress(f"{lock.name} v{lock.version}", steps=len(lock.days)) as step:
            done = rebuild_version(
                lake, name, lock.version, progress=lambda each: step(each.day.isoformat())
            )
    out = output_of(output)
    facts = {"dataset": lock.name, "version": lock.version, "rows": done.rows}
    days = [_day_facts(day) for day in done.days]
    out.facts({**facts, "reproduced": done.reproduced, "days": days})
    for day in done.days:
        out.say(_day_line(day))
    same = "reproduced" if done.reproduced else "NOT reproduced"
    out.say(f"{lock.name} v{lock.version}  {done.rows:,} rows  {same}")
    if not done.reproduced:
        raise typer.Exit(1)


def _summary(lock: "Lockfile") -> str:
    return (
        f"{lock.name} v{lock.version}  {lock.rows:,} rows  {lock.positives:,} positive  "
        f"hash {lock.content_hash[:_HASH_SHOWN]}…"
    )


def _day_line(day: "RebuiltDay") -> str:
    if day.reproduced:
        return f"{day.day}  {day.rows:>9,} rows  {day.content_hash[:_HASH_SHOWN]}…  same"
    return (
        f"{day.day}  {day.rows:>9,} rows  {day.content_hash[:_HASH_SHOWN]}…  "
        f"DIFFERS: published {day.expected_rows:,} rows, {day.expected_hash[:_HASH_SHOWN]}…"
    )


def _day_facts(day: "RebuiltDay") -> dict[str, object]:
    return {
        "day": day.day.isoformat(),
        "rows": day.rows,
        "content_hash": day.content_hash,
        "expected_rows": day.expected_rows,
        "expected_hash": day.expected_hash,
        "reproduced": day.reproduced,
    }
