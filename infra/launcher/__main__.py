"""The launcher's commands: fetch, up, status, logs, down."""

import json
import sys
import time
from dataclasses import asdict
from typing import Annotated

import typer

from infra.launcher import run
from infra.launcher.cluster import Cluster
from infra.launcher.errors import LauncherError
from infra.launcher.exports import exports, use_with
from infra.roles import ROLES

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)
Without = Annotated[
    list[str] | None, typer.Option("--without", help="Leave a server out; may be repeated.")
]
Only = Annotated[
    list[str] | None, typer.Option("--only", help="This server alone; may be repeated.")
]


@app.command()
def up(without: Without = None, only: Only = None) -> None:
    """Start the servers, and return once each has done a real operation."""
    cluster, begun = Cluster.of_checkout(), time.monotonic()
    servers = run.only(only) if only else run.wanted(without or ())
    with cluster.locked():
        run.up(cluster, servers, say=typer.echo)
    typer.echo(
        f"all healthy after {time.monotonic() - begun:.1f} s; stop them with: make cluster-down"
    )
    typer.echo(f"\n{use_with(cluster)}")
    for line in exports(cluster):
        typer.echo(line)


@app.command()
def fetch(without: Without = None, only: Only = None) -> None:
    """Fetch what the servers need into the cache; starts nothing."""
    run.fetch(run.only(only) if only else run.wanted(without or ()), say=typer.echo)


@app.command()
def down() -> None:
    """Stop the servers; their data stays."""
    cluster = Cluster.of_checkout()
    with cluster.locked():
        run.down(cluster, say=typer.echo)


@app.command()
def status(output: Annotated[str, typer.Option(help="text or json")] = "text") -> None:
    """Show the status of each server; exits with 1 if a running server is not healthy."""
    found = run.status(Cluster.of_checkout())
    if output == "json":
        typer.echo(json.dumps([asdict(each) for each in found], indent=1))
    else:
        for each in found:
            pid = "" if each.pid is None else f"pid {each.pid}"
            typer.echo(f"{each.server:13} {each.detail:12} {each.address:40} {pid}".rstrip())
    if any(each.running and not each.healthy for each in found):
        raise typer.Exit(1)


@app.command()
def env(
    role: Annotated[str, typer.Option(help=f"Whose: {', '.join(ROLES)}.")] = "operator",
) -> None:
    """Print the `export` lines for headrace: eval "$(make -s cluster-env ROLE=operator)"."""
    for line in exports(Cluster.of_checkout(), role=role):
        typer.echo(line)


@app.command()
def logs(
    server: Annotated[str, typer.Argument(help="Whose log to show.")],
    lines: Annotated[int, typer.Option(help="How many lines from its end.")] = 100,
) -> None:
    """Show the end of a server's log."""
    found = run.by_name(server)
    for line in run.last_lines(Cluster.of_checkout(), found.name, count=lines):
        typer.echo(line)


def main() -> None:
    """Run a command; errors are printed as one sentence, without a traceback."""
    try:
        app()
    except LauncherError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
