"""Code snippets to copy from a page."""

import textwrap
from collections.abc import Iterable

from ui.facts import VersionFacts

_LINE_MAX = 88


def load_snippet(version: VersionFacts) -> str:
    """Render the Python code that loads a version as PyTorch batches."""
    roles = {
        "dense": version.dense,
        "sparse": version.sparse,
        "sequence": version.sequence,
        "label": version.label_names,
    }
    spec = "".join(_argument(role, names) for role, names in roles.items() if names)
    return (
        "import headrace as hr\n\n"
        f"spec = hr.FeatureSpec(\n{spec})\n"
        "with hr.Lake.open() as lake:\n"
        f'    data = lake.dataset("{version.name}", version={version.version})\n'
        "    with hr.SampleLoader(data, spec=spec, batch_size=4096) as loader:\n"
        "        for batch in loader:\n"
        "            ..."
    )


def _argument(role: str, names: Iterable[str]) -> str:
    quoted = ", ".join(f'"{name}"' for name in names)
    if len(quoted) <= _LINE_MAX:
        return f"    {role}=[{quoted}],\n"
    lines = textwrap.fill(
        quoted + ",", _LINE_MAX, initial_indent=" " * 8, subsequent_indent=" " * 8
    )
    return f"    {role}=[\n{lines}\n    ],\n"


def table_snippets(
    table: str, metadata_location: str, snapshot_id: str, *, trino_catalog: str = ""
) -> dict[str, tuple[str, str]]:
    """Render code that reads one snapshot of a table: name of the tool, language and code.

    DuckDB reads by the metadata file alone, without the catalog; the file is the newest one. Trino
    reads in its catalog of the lake, where there is one.
    """
    where = metadata_location.replace("'", "''")
    trino = {"Trino": ("sql", f"select * from {_in_trino(table, snapshot_id, trino_catalog)}")}
    return {
        "headrace": (
            "python",
            (
                "import headrace as hr\n\n"
                "with hr.Lake.open() as lake:\n"
                f'    rows = lake.table("{table}").at(snapshot_id={snapshot_id}).to_arrow()'
            ),
        ),
        "DuckDB": (
            "sql",
            (
                "load iceberg;\n"
                "select * from iceberg_scan(\n"
                f"    '{where}', snapshot_from_id = {snapshot_id}\n)"
            ),
        ),
        **(trino if trino_catalog else {}),
        "Polars": (
            "python",
            (
                "import headrace as hr\nimport polars as pl\n\n"
                "with hr.Lake.open() as lake:\n"
                f'    rows = pl.from_arrow(lake.table("{table}").at(snapshot_id={snapshot_id}).to_arrow())'
            ),
        ),
    }


def version_snippets(
    version: VersionFacts, metadata_location: str, *, trino_catalog: str = ""
) -> dict[str, tuple[str, str]]:
    """Render code that reads the rows of a version: name of the tool, language and code.

    DuckDB, Trino and Polars read the pinned snapshot of the sample table, limited to the version's
    days; without `metadata_location` or a catalog of Trino they are left out.
    """
    found = {"PyTorch": ("python", load_snippet(version))}
    if metadata_location and trino_catalog:
        table = _in_trino(version.table, str(version.snapshot_id), trino_catalog)
        found["Trino"] = ("sql", _of_days(version, table))
    if metadata_location:
        where = metadata_location.replace("'", "''")
        scan = f"iceberg_scan(\n    '{where}',\n    snapshot_from_id = {version.snapshot_id}\n)"
        select = _of_days(version, scan)
        found["DuckDB"] = ("sql", f"load iceberg;\n{select}")
        polars = (
            "import duckdb  # with the extension iceberg; its result becomes a Polars frame\n\n"
            'duckdb.sql("load iceberg")\n'
            f'rows = duckdb.sql("""\n{select}\n""").pl()'
        )
        found["Polars"] = ("python", polars)
    return found


def _of_days(version: VersionFacts, table: str) -> str:
    days = ", ".join(f"date '{day.day}'" for day in version.days)
    return (
        f"select * from {table}\n"
        "where cast(event_time at time zone 'UTC' as date) in (\n"
        + textwrap.fill(days, _LINE_MAX, initial_indent="    ", subsequent_indent="    ")
        + "\n)"
    )


def _in_trino(table: str, snapshot_id: str, catalog: str) -> str:
    name = ".".join(f'"{part}"' for part in (catalog, *table.split(".")))
    return f"{name} for version as of {snapshot_id}"
