"""The functions that jobs of Flink call in Python, for Flink's own interpreter: `make pyflink` installs it."""

# in an environment of its own
from pyflink.table import DataTypes  # pyright: ignore[reportMissingModuleSource]
from pyflink.table.udf import udf  # pyright: ignore[reportMissingModuleSource]

from headrace.flink.tile_values import values_of

# a function that is deterministic may be computed once for each column of its answer
window_values = udf(
    values_of,
    input_types=[DataTypes.STRING(), DataTypes.BIGINT(), DataTypes.STRING()],
    result_type=DataTypes.ARRAY(DataTypes.STRING()),
    deterministic=False,
)
