"""The settings of every session that starts a job."""

# they decide which operators there are, and so which state fits: with others a job is another one
OPERATORS = {
    # the sink that commits by its own state: the newer one looks for its present job's id only
    "table.exec.iceberg.use-v2-sink": "false",
    # who commits, the only one with a greatest parallelism of one, is a task of its own: in one with the source it
    # would let no record through meanwhile
    "pipeline.operator-chaining.chain-operators-with-different-max-parallelism": "false",
    # rows and dead letters of a record are judged by one look at the clock
    "table.optimizer.reuse-optimize-block-with-digest-enabled": "true",
}
SESSION = {
    **OPERATORS,
    # each checkpoint has what was written before it: an unaligned one would leave files on the way to who commits
    # to the next, which Iceberg's sink drops
    "execution.checkpointing.mode": "EXACTLY_ONCE",
    "execution.checkpointing.unaligned.enabled": "false",
    "execution.checkpointing.max-concurrent-checkpoints": "1",
    # where checkpoints take as long as they are apart, records come through between them: it were one or two each
    "execution.checkpointing.min-pause": "1 s",
    # windows that end together are ended in one go, which a checkpoint waits for: a million of them take a minute
    "execution.checkpointing.timeout": "10 min",
    # what one that fails did not keep, the next one does; to start again would lose what was done since the last
    # one, each time. Status names three in a row
    "execution.checkpointing.tolerable-failed-checkpoints": "10",
    # where little memory is left for RocksDB, it reads the index of a file for each key anew: 4 times the CPU for
    # 1.6M copies of events. So it reads a part of it
    "state.backend.rocksdb.memory.partitioned-index-filters": "true",
    "table.local-time-zone": "UTC",
    # one task reads a table's files in the order of its snapshots
    "table.exec.iceberg.infer-source-parallelism": "false",
}
