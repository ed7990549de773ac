"""Unit tests of models on a server: it gets the given rows, and the SQL that it computes in a build."""

from collections.abc import Sequence

import duckdb
import pyarrow as pa

from headrace.engines.base import Engine
from headrace.engines.trino_sql import without_database
from headrace.errors import FeatureBuildError
from headrace.integrations.model_engine import DATABASE


def rows_under_test(
    server: Engine, here: duckdb.DuckDBPyConnection, *, sql: str, given: Sequence[str]
) -> pa.Table:
    """Compute the rows of a model from given ones.

    Args:
        server: Runs the model's SQL; keeps the given rows until it is closed.
        here: The DuckDB of dbt, which makes the given rows of what the test says.
        sql: What dbt compiled: the given rows as steps of a `with` list, then the model.
        given: These steps as dbt wrote them, `name as (select ...)`.

    Raises:
        FeatureBuildError: If the steps are not where dbt puts them.
        LakeError: What the engine raises.

    """
    for step in given:
        name = step.partition(" as (")[0].strip()
        server.bind_arrow(name, here.sql(f"with {step} select * from {name}").to_arrow_table())
    model = without_database(without_steps(sql, given), DATABASE)
    return server.query(model).read_all()


def without_steps(sql: str, steps: Sequence[str]) -> str:
    """Return SQL without the steps that dbt put before its own.

    Raises:
        FeatureBuildError: If they are not there as dbt writes them.

    """
    if not steps:
        return sql
    before, found, after = sql.partition(", ".join(steps))
    if not found:
        raise FeatureBuildError(("the given rows of a unit test are not where dbt puts them",))
    rest = after.lstrip()
    if rest.startswith(","):  # the model has a `with` of its own
        return f"{before} {rest[1:]}"
    return rest
