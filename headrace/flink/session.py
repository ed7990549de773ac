"""The settings of every session that starts a job."""

SESSION = {
    # rows and dead letters of a record are judged by one look at the clock
    "table.optimizer.reuse-optimize-block-with-digest-enabled": "true",
    "table.local-time-zone": "UTC",
    # the sink that commits by its own state: the newer one looks for its present job's id only
    "table.exec.iceberg.use-v2-sink": "false",
    # one task reads a table's files in the order of its snapshots
    "table.exec.iceberg.infer-source-parallelism": "false",
}
