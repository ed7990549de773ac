"""`headrace datasets diff`: what changed between two versions of a dataset, and why."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from headrace.cli.output import Format, Output, OutputOption, output_of
from headrace.cli.versions import DatasetName, version_number

if TYPE_CHECKING:
    from headrace.datasets.diff import VersionDiff


def diff(
    name: DatasetName,
    before: Annotated[str, typer.Argument(metavar="BEFORE", help="As `v1` or `1`.")],
    after: Annotated[
        str | None, typer.Argument(metavar="[AFTER]", help="The newest if not given.")
    ] = None,
    *,
    output: OutputOption = Format.TEXT,
) -> None:
    """Show what changed between two versions, and why: days, rows, labels, columns, values.

    Read from the two lockfiles: fast at any size. A cause names what decided the rows of that day
    anew: the definition, or the tables that were read at another snapshot. `psi` is the population
    stability index of a feature's values.
    """
    from headrace.config import Settings
    from headrace.datasets.diff import diff as diff_of
    from headrace.datasets.versions import find_lockfile
    from headrace.tables.lake import OpenLake

    with OpenLake.existing(Settings.load()) as lake:
        first = find_lockfile(lake, name, version_number(before))
        second = find_lockfile(lake, name, version_number(after))
    found = diff_of(first, second)
    out = output_of(output)
    if output is Format.JSON:
        out.record(asdict(found) | {"days": [_day(found, at) for at in range(len(found.days))]})
        return
    _show(out, found)


def _show(out: Output, found: "VersionDiff") -> None:
    if not found:
        out.show(f"{found.name} v{found.before} and v{found.after} publish the same rows")
        return
    rows, positives = (
        found.rows_after - found.rows_before,
        (found.positives_after - found.positives_before),
    )
    out.show(
        f"{found.name} v{found.before} → v{found.after}: {rows:+,} rows, {positives:+,} positive"
    )
    rate = [
        _rate(found.positives_before, found.rows_before),
        _rate(found.positives_after, found.rows_after),
    ]
    facts = {
        "rows": f"{found.rows_before:,} → {found.rows_after:,}",
        "positive": f"{found.positives_before:,} → {found.positives_after:,}",
        "positive rate": " → ".join(rate),
        "definition": ", ".join(found.definition) or "unchanged",
        "columns": ", ".join(found.columns) or "unchanged",
    }
    out.record(facts)
    if found.days:
        out.show("")
        days = [_day(found, at) for at in range(len(found.days))]
        out.table(days, columns=("day", "change", "rows_before", "rows_after", "causes"))
    if found.labels:
        out.show("")
        labels = [asdict(each) for each in found.labels]
        out.table(labels, columns=("label", "state", "value", "before", "after"))
    out.show("")
    _show_drift(out, found)


def _show_drift(out: Output, found: "VersionDiff") -> None:
    if found.drift is None:
        out.show("values were not recorded when one of them was published: drift is unknown")
        return
    still = sum(not each.psi for each in found.drift)
    rows = [
        {
            "column": each.column,
            "moved": each.moved,
            "psi": round(each.psi, 3),
            "nulls_before": _share(each.null_share_before),
            "nulls_after": _share(each.null_share_after),
            "mean_before": each.mean_before,
            "mean_after": each.mean_after,
            "shift": None if each.shift is None else f"{each.shift:+.2f} σ",
        }
        for each in found.drift
        if each.psi
    ]
    means = ("mean_before", "mean_after")
    columns = ("column", "moved", "psi", "nulls_before", "nulls_after", *means, "shift")
    if rows:
        out.table(rows, columns=columns, spare=means)
    if still:
        out.show(f"{still} {'column has' if still == 1 else 'columns have'} the same values")


def _share(value: float | None) -> str:
    return "—" if value is None else f"{value:.1%}"


def _day(found: "VersionDiff", at: int) -> dict[str, object]:
    day = found.days[at]
    return {**asdict(day), "day": day.day.isoformat(), "causes": list(day.causes)}


def _rate(positives: int, rows: int) -> str:
    return f"{positives / rows:.3%}" if rows else "—"
