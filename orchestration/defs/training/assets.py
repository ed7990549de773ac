"""One asset per sample set: the models trained on its versions, which training itself reports."""

import dagster as dg

from headrace.config import Settings
from orchestration.lib.declared import read_declared
from orchestration.lib.keys import dataset_key, model_key


@dg.definitions
def models() -> dg.Definitions:
    """Define an external asset for the models of every sample set."""
    return dg.Definitions(
        assets=[
            dg.AssetSpec(
                key=model_key(each.name),
                deps=[dataset_key(each.name)],
                group_name="training",
                kinds={"pytorch"},
                description=(
                    f"Models trained on versions of dataset `{each.name}`. Dagster does not train: "
                    "a training run reports its model, as `make demo` does."
                ),
            )
            for each in read_declared(Settings.load()).sample_sets
        ]
    )
