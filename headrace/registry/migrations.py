"""The registry's schema version: ordered migrations, each applied once, by one process.

A migration is never edited once it is released: a change of the schema is a new one at the end, and
the same change in `schema.py`. Its SQL is read by SQLite and PostgreSQL alike.
"""

import contextlib
from collections.abc import Generator
from dataclasses import dataclass

import sqlalchemy as sa

from headrace import clock
from headrace.errors import NotARegistryError, RegistryNewerError
from headrace.registry.databases import address_of, make_schema, open_engine

_LOCK = 0x68656164_72616365  # of PostgreSQL's advisory locks; "headrace"
_LOOK_S = 30.0
_VERSION = sa.text("select max(version) from schema_version")
# what tells a registry without a version from another program's tables
_KEYS = {
    "builds": {"table_name", "partition"},
    "commits": {"table_name", "snapshot_id"},
    "dataset_versions": {"name", "version"},
    "leases": {"lease_id", "table_name"},
    "measures": {"table_name", "name"},
    "writes": {"write_id", "table_name"},
}


@dataclass(frozen=True, kw_only=True)
class Migration:
    """Statements that bring a registry from the version before to `version`."""

    version: int
    statements: tuple[str, ...]


MIGRATIONS = (
    # registries were made without a version before: those tables that exist stay
    Migration(
        version=1,
        statements=(
            """
            create table if not exists commits (
                table_name text not null,
                snapshot_id bigint not null,
                parent_id bigint,
                sequence_number bigint not null,
                committed_at_ms bigint not null,
                operation text not null,
                partitions text not null,
                inputs text not null,
                code text not null,
                run_id text not null,
                files_added bigint not null,
                files_removed bigint not null,
                rows_added bigint not null,
                rows_removed bigint not null,
                primary key (table_name, snapshot_id)
            )
            """,
            "create index if not exists commits_by_time on commits (table_name, sequence_number)",
            """
            create table if not exists measures (
                table_name text not null,
                name text not null,
                value bigint not null,
                measured_at_ms bigint not null,
                primary key (table_name, name)
            )
            """,
            """
            create table if not exists builds (
                table_name text not null,
                partition text not null,
                snapshot_id bigint not null,
                inputs text not null,
                code text not null,
                watermarks text not null,
                primary key (table_name, partition)
            )
            """,
            """
            create table if not exists dataset_versions (
                name text not null,
                version bigint not null,
                state text not null,
                lockfile text not null,
                primary key (name, version)
            )
            """,
            """
            create table if not exists off_main (
                table_name text not null,
                snapshot_id bigint not null,
                primary key (table_name, snapshot_id)
            )
            """,
            """
            create table if not exists property_moves (
                table_name text not null,
                snapshot_id bigint not null,
                moves text not null,
                primary key (table_name, snapshot_id)
            )
            """,
            """
            create table if not exists commit_origins (
                table_name text not null,
                origin text not null,
                snapshot_id bigint not null,
                primary key (table_name, origin, snapshot_id)
            )
            """,
            """
            create index if not exists commit_origins_by_commit
                on commit_origins (table_name, snapshot_id)
            """,
            """
            create table if not exists leases (
                lease_id text not null primary key,
                table_name text not null,
                snapshot_id bigint not null,
                holder text not null,
                ends_at_ms bigint not null
            )
            """,
            """
            create table if not exists writes (
                write_id text not null primary key,
                table_name text not null,
                location text not null,
                host text not null,
                boot_id text not null,
                pid bigint not null,
                process_start_ticks bigint not null,
                started_at_ms bigint not null
            )
            """,
            """
            create table if not exists source_seals (
                seal bigint not null primary key,
                after_seal bigint,
                table_name text not null,
                stream text not null,
                sealed_at_ms bigint not null
            )
            """,
            """
            create table if not exists source_files (
                seal bigint not null,
                source text not null,
                records bigint not null,
                bytes bigint not null,
                fingerprint text not null,
                changed_ns bigint not null,
                inode bigint not null,
                primary key (seal, source)
            )
            """,
            "create index if not exists source_files_by_name on source_files (source)",
            "create index if not exists source_files_by_content on source_files (fingerprint)",
        ),
    ),
    Migration(
        version=2,
        statements=(
            # with a default: processes of the version before may have the registry open, and
            # go on to record commits; their moves count as not known
            "alter table commits add column moves text not null default ''",
            """
            update commits set moves = (
                select moved.moves from property_moves as moved
                where moved.table_name = commits.table_name
                and moved.snapshot_id = commits.snapshot_id
            )
            where exists (
                select 1 from property_moves as moved
                where moved.table_name = commits.table_name
                and moved.snapshot_id = commits.snapshot_id
            )
            """,
            "drop table property_moves",
        ),
    ),
    Migration(
        version=3,
        statements=(
            """
            create table owner (
                id bigint not null primary key,
                warehouse text not null
            )
            """,
        ),
    ),
    Migration(
        version=4,
        statements=(
            # with a default: processes of the version before go on to announce writes, without
            # renewing them; these count from their start
            "alter table writes add column renewed_at_ms bigint not null default 0",
            "update writes set renewed_at_ms = started_at_ms",
        ),
    ),
)
NEWEST = MIGRATIONS[-1].version


def migrate(engine: sa.Engine) -> None:
    """Bring a registry to the newest schema version; all of it, or nothing after a crash.

    Safe to call from several processes at once: one migrates, the others wait. A registry that is
    up to date is only read.

    Raises:
        RegistryNewerError: If its version is newer than this code knows.
        NotARegistryError: If the tables are another program's.

    """
    with engine.connect() as connection:
        found = version_of(connection)
    if found == NEWEST:
        return
    _refuse_newer(engine, found)
    with _alone(engine) as connection:
        found = version_of(connection)  # another process may have been faster
        _refuse_newer(engine, found)
        if found == 0:
            _refuse_other_tables(connection)
            connection.exec_driver_sql(
                "create table if not exists schema_version "
                "(version bigint not null primary key, applied_at_ms bigint not null)"
            )
        for migration in MIGRATIONS[found:]:
            for statement in migration.statements:
                connection.exec_driver_sql(statement)
            row = {"version": migration.version, "now_ms": clock.now_ms()}
            connection.execute(
                sa.text("insert into schema_version values (:version, :now_ms)"), row
            )


def is_registry(uri: str) -> bool:
    """Whether a database holds a registry; changes nothing.

    Raises:
        DatabaseUnavailableError: If it cannot be asked.

    """
    engine = open_engine(uri, wait_s=_LOOK_S)
    try:
        with engine.connect() as connection:
            return version_of(connection) > 0
    finally:
        engine.dispose()


def version_of(connection: sa.Connection) -> int:
    """Return the schema version of a registry; 0 if it has none, or is empty."""
    if not sa.inspect(connection).has_table("schema_version"):
        return 0
    return connection.execute(_VERSION).scalar() or 0


@contextlib.contextmanager
def _alone(engine: sa.Engine) -> Generator[sa.Connection]:
    """Open a transaction that no other process migrates beside."""
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            # `create table if not exists` fails there where two do it at once
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
            make_schema(engine)
        else:
            # the driver begins no transaction before a change of the schema
            connection.exec_driver_sql("begin immediate")
        yield connection
        connection.commit()


def _refuse_newer(engine: sa.Engine, found: int) -> None:
    if found > NEWEST:
        raise RegistryNewerError(_address(engine), found=found, known=NEWEST)


def _refuse_other_tables(connection: sa.Connection) -> None:
    inspector = sa.inspect(connection)
    for table in sorted(_KEYS.keys() & set(inspector.get_table_names())):
        columns = {column["name"] for column in inspector.get_columns(table)}
        if not columns >= _KEYS[table]:
            raise NotARegistryError(_address(connection.engine), table=table)


def _address(engine: sa.Engine) -> str:
    return address_of(engine.url.render_as_string(hide_password=False))
