"""A wide table, whose files are too large to be read as a whole."""

import numpy as np
import pyarrow as pa

from headrace.api import Lake
from headrace.datasets.files import FilePlan
from headrace.identifiers import TableName
from headrace.tables.commits.operations import Provenance, append
from headrace.tables.writer import write_batches

COLUMNS, ROW_GROUPS, GROUP_ROWS = 60, 30, 100
NAMES = [f"c{n:02d}" for n in range(COLUMNS)]


def filled(lake: Lake) -> FilePlan:
    rows = ROW_GROUPS * GROUP_ROWS
    kinds = [pa.float64()] * 50 + [pa.int64()] * 10
    schema = pa.schema([pa.field(name, kind) for name, kind in zip(NAMES, kinds, strict=True)])
    properties = {"write.parquet.row-group-limit": str(GROUP_ROWS)}
    table = lake.create(TableName("raw", "wide"), schema, properties=properties)
    # which do not compress: small files are read as a whole
    draw = np.random.default_rng(7)
    arrays = [pa.array(draw.integers(0, 2**52, rows)).cast(kind) for kind in kinds]
    files = write_batches(table, [pa.RecordBatch.from_arrays(arrays, schema=schema)])
    append(table, files, provenance=Provenance())
    return FilePlan.of(table.head())
