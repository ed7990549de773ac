"""The PostgreSQL database of a catalog: how it is connected to, and that its tables are made once."""

import contextlib
from collections.abc import Generator

import sqlalchemy as sa
from pyiceberg.catalog.sql import IcebergNamespaceProperties, IcebergTables

from headrace.registry import make_schema, open_postgres

_CREATING = 0x6C616B65_63617461  # of PostgreSQL's advisory locks; "lakecata"
_WAIT_S = 30.0


def open_database(uri: str) -> sa.Engine:
    """Connect to the database of a catalog; raises its errors by their names."""
    return open_postgres(uri, database="catalog", wait_s=_WAIT_S)


def is_catalog(uri: str) -> bool:
    """Whether a database holds a catalog; changes nothing.

    Raises:
        DatabaseUnavailableError: If it cannot be asked.

    """
    engine = open_database(uri)
    try:
        with engine.connect() as connection:
            return _has_tables(connection)
    finally:
        engine.dispose()


@contextlib.contextmanager
def creating(engine: sa.Engine) -> Generator[None]:
    """Let one process at a time make the tables: two that do so at once would both fail.

    Where they are there already nothing is locked. The schema that the address names, in its search
    path, is made too.
    """
    with engine.connect() as connection:
        if _has_tables(connection):
            connection.rollback()
            yield
            return
        connection.rollback()
        # of the transaction: it ends with it on every pooler too
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_CREATING)))
        make_schema(engine)
        yield


def _has_tables(connection: sa.Connection) -> bool:
    # looked up as statements are: in the schemas of the search path, and in no others
    names = (IcebergTables.__tablename__, IcebergNamespaceProperties.__tablename__)
    return all(connection.scalar(sa.select(sa.func.to_regclass(name))) for name in names)
