"""The jobs that people start: everything, or ingest alone; maintenance is in its own folder."""

import dagster as dg


@dg.definitions
def jobs() -> dg.Definitions:
    """Define the jobs over the assets of the declarations."""
    return dg.Definitions(
        jobs=[
            dg.define_asset_job(
                "build_everything",
                selection=dg.AssetSelection.all() - dg.AssetSelection.groups("maintenance"),
                description=(
                    "From the sources to dataset versions and the online store; choose the days of "
                    "samples, of which only those with changed inputs are rebuilt."
                ),
            ),
            dg.define_asset_job(
                "ingest",
                selection=dg.AssetSelection.groups("ingest"),
                description="Takes what is new of every stream, and checks it.",
            ),
        ]
    )
