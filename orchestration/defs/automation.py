"""Builds assets when what they are computed from changed; stopped until it is switched on."""

import dagster as dg

build_what_changed = dg.AutomationConditionSensorDefinition(
    "build_what_changed",
    target=dg.AssetSelection.all(),
    default_status=dg.DefaultSensorStatus.STOPPED,
    minimum_interval_seconds=60,
    description=(
        "Features after their streams, samples after features and labels (the latest days), dataset "
        "versions after samples, the online store after features."
    ),
)
