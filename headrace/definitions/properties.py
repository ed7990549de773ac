"""Every key that headrace writes into tables: properties, and entries of snapshot summaries.

What the Iceberg specification names is in `iceberg/standard_properties.py`. No other module spells
a key; times are UTC, in microseconds where the name of a key gives no unit.
"""

# properties of a stream's table
STREAM_PROPERTY = "headrace.stream"  # its name, also in the summary of each commit of its ingestion
CONTRACT_VERSION = "headrace.contract_version"
LATENESS_S = "headrace.lateness_s"  # how late rows may come
FIELD_USE_PROPERTY = "headrace.field_use"  # JSON: how often each field had a value
SOURCE_FILES_PREFIX = "headrace.source_files."  # and the stream; JSON: open source files
FORMER_SOURCE_BYTES = "headrace.source_bytes"  # tables written before sources were sealed have it
WATERMARK = "headrace.watermark"  # no older event is expected; also in summaries
OFFSETS_PREFIX = (
    "headrace.offsets."  # and the stream; JSON: next record by source; also in summaries
)

# properties of any table
KEY = "headrace.key"  # a JSON list of columns
CLUSTER_BY = "headrace.cluster_by"  # a JSON list of columns
FEATURE_VIEW_PROPERTY = "headrace.feature_view"  # JSON: entity, times, TTL, delay
MODEL_PROPERTY = "headrace.model"  # which dbt model builds it, `<project>.<model>`
APPROXIMATE_PROPERTY = "headrace.approximate"  # a JSON list of columns that no content hash covers
RECIPE_PROPERTY = "headrace.recipe"  # JSON: how a sample table is built
FORMER_CODEC = "headrace.codec"  # sample tables had it, and files with LZ4; read for nothing else

# entries of snapshot summaries
INPUTS = "headrace.inputs"  # JSON: snapshot id by input table
CODE = "headrace.code"  # hash of the definition
RUN_ID = "headrace.run_id"
PARTITIONS = "headrace.partitions"  # a JSON list of the partitions that were touched
PICKED = "headrace.picked"  # a JSON list of cherry-picked snapshots
MOVES = "headrace.properties"  # JSON: the properties that changed, before and after
LEAKS = "headrace.leaks"  # how many samples use the future

# key in the schema of a Parquet file
FILE_PLAN = "headrace.file_plan"  # version of the format of a dataset's list of files
