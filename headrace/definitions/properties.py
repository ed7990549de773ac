"""All keys that headrace writes to tables: properties, and entries of snapshot summaries.

Standard properties of Iceberg are in `iceberg/standard_properties.py`. No other module contains
a key. Times are UTC, in microseconds unless the name of the key gives a unit.
"""

# properties of a stream's table
STREAM_PROPERTY = "headrace.stream"  # its name, also in the summary of each commit of its ingestion
CONTRACT_VERSION = "headrace.contract_version"
LATENESS_S = "headrace.lateness_s"  # how late rows may arrive
FIELD_USE_PROPERTY = "headrace.field_use"  # JSON: how often each field had a value
SOURCE_FILES_PREFIX = "headrace.source_files."  # and the stream; JSON: open source files
FORMER_SOURCE_BYTES = "headrace.source_bytes"  # only in tables written before sources were sealed
WATERMARK = "headrace.watermark"  # no older event is expected; also in summaries
EVENT_TIMES = (
    "headrace.event_times"  # JSON: newest event and last record of each partition of a log
)
REFUSED_WINDOW = "headrace.refused_window"  # JSON: how many of the newest records were refused
LATE_ROWS_TOTAL = "headrace.late_rows_total"  # older than the watermark when they were taken
ABSENT_PREFIX = "headrace.absent."  # and the stream; JSON: offsets without row and dead letter
GAPS_PREFIX = "headrace.gaps."  # and the stream; JSON: ranges of offsets whose loss was accepted
SCHEMAS_PREFIX = "headrace.schemas."  # and the stream; JSON: hashes of the schemas its values name
EVOLVED_PREFIX = (
    "headrace.evolved."  # and the stream; JSON: fields its records added to the contract
)
REPLAY_PREFIX = (
    "headrace.replay."  # and the stream; JSON: replays done, and the one not yet complete
)
WHOLE_SNAPSHOT_PREFIX = (
    "headrace.whole_snapshot."  # and the stream; JSON: the newest file of whole snapshots
)
RESET_PREFIX = "headrace.reset."  # and the stream; a reset that is not complete
RETRY_PREFIX = "headrace.retry."  # and the stream; the file of a retry that is not complete
BEGUN_PREFIX = (
    "headrace.begun."  # and the stream; how often something of it was taken back, to begin again
)
SKIPPED_PREFIX = "headrace.skipped."  # and the stream; JSON: files that are left out
OFFSETS_PREFIX = (
    "headrace.offsets."  # and the stream; JSON: next record by source; also in summaries
)
OWNER_PREFIX = (
    "headrace.owner."  # and the stream; JSON: who writes it, and since which epoch; none: headrace
)
EPOCH_PREFIX = (
    "headrace.epoch."  # and the stream; of the table of dead letters: since when Flink has it
)
LETTERS_SINCE_PREFIX = (
    "headrace.letters_since."  # and the stream; of that table too: its sequence number then
)

# properties of the feature table of a window view
VIEW_BEGIN = "headrace.view_begin"  # JSON: where the job of Flink that writes it begins

# properties of the live table of a sample set
SAMPLES_BEGIN = "headrace.samples_begin"  # JSON: where the job begins, by table that it reads

# properties of the table of a stream with a keyed table
KEYED_BEGIN_PREFIX = "headrace.keyed_begin."  # and the Paimon table; JSON: of what its job began
ROLLED_BACK = "headrace.rolled_back"  # JSON: what was rolled back last before an expiry forgot it

# properties of any table
KEY = "headrace.key"  # a JSON list of columns
CLUSTER_BY = "headrace.cluster_by"  # a JSON list of columns
FEATURE_VIEW_PROPERTY = "headrace.feature_view"  # JSON: entity, times, TTL, delay
MODEL_PROPERTY = "headrace.model"  # the dbt model that builds the table, `<project>.<model>`
MODEL_COLUMNS = "headrace.model_columns"  # JSON: the columns that each column of a model comes from
APPROXIMATE_PROPERTY = "headrace.approximate"  # a JSON list of columns that no content hash covers
RECIPE_PROPERTY = "headrace.recipe"  # JSON: how a sample table is built
PAIMON = "headrace.paimon"  # JSON: the Paimon table whose rows it has, and the snapshot taken last
FORMER_CODEC = "headrace.codec"  # only in older sample tables; it reveals LZ4 files

# entries of snapshot summaries
INPUTS = "headrace.inputs"  # JSON: snapshot id by input table
CODE = "headrace.code"  # hash of the definition
RUN_ID = "headrace.run_id"
PARTITIONS = "headrace.partitions"  # a JSON list of touched partitions
PICKED = "headrace.picked"  # a JSON list of cherry-picked snapshots
MOVES = "headrace.properties"  # JSON: the properties that changed, before and after
LEAKS = "headrace.leaks"  # how many samples use the future
LATE_ROWS = "headrace.late_rows"  # how many rows of a commit were older than the watermark
DIRTY_DAYS = "headrace.dirty_days"  # a JSON list: days of event time that late rows changed

# option of a keyed table in Paimon
TABLE_UUID = "headrace.table-uuid"  # of the table of the stream whose rows it keeps

# property of a Paimon snapshot
PAIMON_EXPORT = "headrace.export"  # JSON: the table and the snapshot whose rows it has

# key in the schema of a Parquet file
FILE_PLAN = "headrace.file_plan"  # version of the format of a dataset's list of files

# key in the schema of a view's state in the online store
WINDOWS = "headrace.windows"  # JSON: the resolved declaration of a window view
