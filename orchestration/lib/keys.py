"""Asset keys and pools; an asset has the name of its table."""

import dagster as dg

from headrace.identifiers import TableName


def table_key(name: TableName) -> dg.AssetKey:
    """Return the asset key of a table: `[namespace, name]`, as in SQL and on the pages."""
    return dg.AssetKey([name.namespace, name.name])


def compaction_key(name: TableName) -> dg.AssetKey:
    """Return the asset key of a table's compaction."""
    return dg.AssetKey(["maintenance", f"{name.namespace}_{name.name}"])


def writer_pool(name: TableName) -> str:
    """Return the pool of a table's writers; `dagster.yaml` limits it to one run at a time."""
    return f"writers/{name}"


def dataset_key(name: str) -> dg.AssetKey:
    """Return the asset key of a sample set's published dataset versions."""
    return dg.AssetKey(["datasets", name])


def model_key(name: str) -> dg.AssetKey:
    """Return the asset key of the models trained on versions of a dataset."""
    return dg.AssetKey([MODELS, name])


def job_key(subject: str) -> dg.AssetKey:
    """Return the asset key of a job of Flink, by the stream, view or table that it writes."""
    return dg.AssetKey([FLINK, *subject.replace(":", ".").split(".")])


def paimon_key(table: str) -> dg.AssetKey:
    """Return the asset key of a Paimon table, `database.table`."""
    return dg.AssetKey([PAIMON, *table.split(".")])


FLINK = "flink"  # first part of the keys of jobs
UNDECLARED_JOBS = dg.AssetKey([FLINK, "undeclared", "jobs"])
PAIMON = "paimon"  # first part of the keys of Paimon tables
MODELS = "models"  # first part of the keys of trained models
ONLINE_STORE = dg.AssetKey(["serving", "online_store"])
