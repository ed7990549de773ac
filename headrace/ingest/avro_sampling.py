"""A sample of a topic of Avro values for a draft: read by the schemas that its values name."""

from collections.abc import Sequence

import pyarrow as pa

from headrace.errors import DraftError
from headrace.ingest.decoding.avro_values import read_groups
from headrace.ingest.decoding.typed import Values
from headrace.ingest.parquet_columns import parquet_columns
from headrace.ingest.sampling import Sample
from headrace.ingest.sources.base import Records
from headrace.ingest.sources.kafka_records import ValueRules
from headrace.ingest.sources.schemas import Schemas


def avro_sample(topic: str, records: Sequence[Records], schemas: Schemas) -> Sample:
    """Make a sample of Avro values behind the ids of their schemas, which are read by them.

    Raises:
        DraftError: If a value cannot be read by its schema, or the schema is none of Avro.
        SchemaUnavailableError: If the registry does not answer.

    """
    rules = ValueRules(schemas=schemas, ignore_tombstones=True)
    known = tuple(map(rules.applied, records))
    for each in known:
        _, violations = read_groups(each)
        if violations:
            _, first = min(violations.items())
            raise DraftError(topic, detail=f"a value is no Avro of its schema: {first.reason}")
    return Sample(
        format="avro",
        files=(),
        records=known,
        topic=topic,
        framed=True,
        tombstones=sum(len(each.tombstones) for each in records),
    )


def avro_columns(sample: Sample) -> dict[str, pa.Array]:
    """Return each field of the schemas as a column; one of a type without a column has no type."""
    batches: list[pa.RecordBatch] = []
    for records in sample.records:
        groups, _ = read_groups(records)
        batches += [
            pa.record_batch({name: _column(*each) for name, each in group.columns.items()})
            for group in groups
        ]
    return parquet_columns(batches)


def _column(values: Values, kind: pa.DataType | None) -> pa.Array:
    if kind is None:
        return pa.array([{}] * len(values), pa.struct([]))
    return pa.array(values, kind) if isinstance(values, list) else values.cast(kind)
