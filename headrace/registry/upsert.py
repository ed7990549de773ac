"""Inserts of rows whose key may exist already, for the databases that a registry can be in."""

import functools
from typing import cast

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite


def insert_missing(engine: sa.Engine, table: sa.Table) -> sa.Insert:
    """Return the statement that inserts a row, or leaves the one with its key as it is.

    Its row count says whether a row was inserted.
    """
    return _missing(engine.dialect.name, table)


def insert_or_replace(engine: sa.Engine, table: sa.Table) -> sa.Insert:
    """Return the statement that inserts a row, or replaces the one with its key."""
    return _or_replace(engine.dialect.name, table)


# built once: building a statement takes longer than running it
@functools.cache
def _missing(dialect: str, table: sa.Table) -> sa.Insert:
    return _insert(dialect, table).on_conflict_do_nothing()


@functools.cache
def _or_replace(dialect: str, table: sa.Table) -> sa.Insert:
    statement = _insert(dialect, table)
    values = {
        column.name: statement.excluded[column.name]
        for column in table.columns
        if not column.primary_key
    }
    return statement.on_conflict_do_update(index_elements=list(table.primary_key), set_=values)


def _insert(dialect: str, table: sa.Table) -> sqlite.Insert:
    if dialect == "postgresql":
        # importing it takes 40 % of the time that all of SQLAlchemy does
        from sqlalchemy.dialects import postgresql

        # of the same methods, though of no common class
        return cast("sqlite.Insert", postgresql.insert(table))
    return sqlite.insert(table)
