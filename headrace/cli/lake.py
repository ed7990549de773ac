"""`headrace lake`: a whole lake: relocate a copied one, recover lost databases, move to servers."""

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from headrace.cli.nouns import add, add_noun
from headrace.cli.output import Format, OutputOption, as_size, output_of, progress
from headrace.errors import Remedy

if TYPE_CHECKING:
    from headrace.config import Settings
    from headrace.datasets.recover import Recovery
    from headrace.tables.relocate import Relocation

ApplyOption = Annotated[bool, typer.Option("--apply", help="Do it; without, it is only shown.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    noun = add_noun(app, "lake", help="Relocate, recover or move a whole lake.")
    add(noun, "relocate", relocate, "lake relocate", "lake relocate --apply")
    add(noun, "recover", recover, "lake recover", "lake recover --apply")
    add(noun, "move", move, "lake move --to cluster", "lake move --to cluster --apply")


def relocate(*, apply: ApplyOption = False, output: OutputOption = Format.TEXT) -> None:
    """Make the tables of a copied or moved state folder its own: their locations are absolute.

    Snapshots, tags, branches and dataset versions stay as they are. Metadata is rewritten beside
    the copied files; data files and everything outside of this state folder stay. Safe to kill and
    to run again.
    """
    from headrace.config import Settings
    from headrace.datasets.relocate import plans_elsewhere, relocate_plans
    from headrace.tables.relocate import apply_relocation, plan_relocation

    settings = Settings.load()
    plan = plan_relocation(settings)
    plans = plans_elsewhere(settings)
    out = output_of(output)
    if plan.tables or output is Format.JSON:
        out.table(_rows(plan), columns=("table", "from", "to"))
    for table in plan.strangers:
        out.say(f"{table} lies elsewhere, and this warehouse has no copy of it: it is left there")
    if not plan.tables and not plans:
        out.say("nothing to relocate: every table with a copy in this warehouse is its own")
        return
    said = f"{len(plan.tables):,} tables and {len(plans):,} file plans of dataset versions"
    if not apply:
        do_it = Remedy.run("lake", "relocate", "--apply", advice="to do it")
        out.say(f"{said}; nothing was changed", remedy=do_it)
        return
    with progress("relocating", steps=len(plan.tables) + len(plans)) as step:
        for each in apply_relocation(settings, plan):
            step(each.table)
        for path in relocate_plans(settings):
            step(path.name)
    out.say(f"relocated {said}; what was copied of the old metadata is left for clean-up")


def _rows(plan: "Relocation") -> list[dict[str, object]]:
    return [
        {"table": each.table, "from": each.move.source, "to": each.move.target}
        for each in plan.tables
    ]


def move(
    *,
    to: Annotated[str, typer.Option("--to", help="The profile to move to, as in lake.toml.")],
    source: Annotated[
        str, typer.Option("--from", help="The profile whose lake is moved, on this host.")
    ] = "local",
    apply: ApplyOption = False,
    output: OutputOption = Format.TEXT,
) -> None:
    """Move a lake to where another profile has its own, such as PostgreSQL and S3.

    Snapshots, tags, branches, dataset versions and their content hashes stay as they are. Data files
    are copied, and the lake that they came from is only read. Safe to kill and to run again. Stop what
    writes to the lake first: a table that changes meanwhile is refused. The online store is published
    anew.
    """
    from headrace.datasets.move import documents, is_moved, move_lake
    from headrace.tables.move import plan_move

    here, there = _two_profiles(source, to)
    plan, out = plan_move(here, there), output_of(output)
    if is_moved(here, there, plan):
        out.say(f"nothing to move: the lake of `{to}` has every table as it is here")
        return
    rows = [
        {"table": each.table, "snapshots": each.snapshots, "files": len(each.files)}
        | {"size": as_size(each.bytes)}
        for each in plan.tables
    ]
    if rows or output is Format.JSON:
        out.table(rows, columns=("table", "snapshots", "files", "size"))
    said = f"{len(plan.tables):,} tables, from `{plan.move.source}` to `{plan.move.target}`"
    if not apply:
        do_it = Remedy.run(
            "lake", "move", "--to", to, "--from", source, "--apply", advice="to do it"
        )
        out.say(f"{said}; nothing was changed", remedy=do_it)
        return
    with progress("moving", steps=len(plan.tables) + len(documents(here)) + 1) as step:
        for each in move_lake(here, there, plan):
            step(each)
    use = Remedy(
        advice=f'from now on, use `profile = "{to}"` in lake.toml; publish online values anew'
    )
    out.say(f"moved {said}", remedy=use)


def _two_profiles(first: str, second: str) -> "tuple[Settings, Settings]":
    """Read two profiles; what the environment says of places is said of one that requires it."""
    from headrace import lake_file, servers
    from headrace.config import Settings

    env = dict(os.environ)
    file = lake_file.find(env)
    said = lake_file.profile_values(file, lake_file.read(file), first)
    bare = servers.without_places(env)
    envs = (env, bare) if said["required_environment"] else (bare, env)
    of_first, of_second = (
        Settings.load(env=each | {"HEADRACE_PROFILE": name})
        for each, name in zip(envs, (first, second), strict=True)
    )
    return of_first, of_second


def recover(*, apply: ApplyOption = False, output: OutputOption = Format.TEXT) -> None:
    """Recover a lost catalog or registry from the files of tables and dataset versions.

    A backup is better: the registry alone knows who holds leases, what days were built from, and
    which source files were taken long ago. Streams that took many files refuse to go on without.
    """
    from headrace.config import Settings
    from headrace.datasets.recover import apply_recovery, plan_recovery

    settings = Settings.load()
    plan, out = plan_recovery(settings), output_of(output)
    if not plan:
        out.say("nothing to recover: catalog and registry are there")
        return
    if plan.search is not None:
        out.table(_found(plan), columns=("table", "snapshots", "files", "metadata", "passed_over"))
        for table in plan.search.unreadable:
            out.say(f"{table} has no metadata file that can be read whole: it is left out")
    if settings.registry_file in plan.missing:
        versions = ", ".join(f"{lock.name} v{lock.version}" for lock in plan.locks) or "none"
        out.say(f"dataset versions by their lockfiles: {versions}")
        for name in plan.damaged:
            out.say(f"{name} cannot be read: that version is left out")
    said = " and ".join(f"`{path.name}`" for path in plan.missing)
    if not apply:
        do_it = Remedy.run("lake", "recover", "--apply", advice="to do it")
        out.say(f"{said} can be made again; nothing was changed", remedy=do_it)
        return
    apply_recovery(settings, plan)
    datasets = Remedy.run("datasets", "list", advice="and the versions of datasets")
    tables = Remedy.run("tables", "list", advice="see the tables")
    out.say(f"{said} made again", remedy=replace(tables, otherwise=(datasets,)))


def _found(plan: "Recovery") -> list[dict[str, object]]:
    return [
        {
            "table": str(each.name),
            "snapshots": each.snapshots,
            "files": each.files,
            "metadata": each.location.rpartition("/")[2],
            "passed_over": len(each.passed_over),
        }
        for each in (plan.search.tables if plan.search is not None else ())
    ]
