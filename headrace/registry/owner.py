"""Which lake a registry on a server belongs to: it names tables as that lake does, without a lake."""

import sqlalchemy as sa

from headrace.errors import RegistryInUseError
from headrace.registry.databases import address_of
from headrace.registry.registry import Registry
from headrace.registry.schema import OWNER
from headrace.registry.upsert import insert_missing


def bind(registry: Registry, warehouse: str) -> None:
    """Bind a registry to the lake of a warehouse, for good; idempotent.

    Raises:
        DatabaseUnavailableError: If it cannot be used now.
        RegistryInUseError: If it belongs to another lake.

    """
    engine, row = registry.engine, {"id": 1, "warehouse": warehouse}
    owner = sa.select(OWNER.c.warehouse)
    with engine.begin() as connection:
        found = connection.execute(owner).scalar()
        if found is None:  # readers may not write, and need not
            connection.execute(insert_missing(engine, OWNER), row)
            found = connection.execute(owner).scalar_one()
    if found != warehouse:
        address = address_of(engine.url.render_as_string(hide_password=False))
        raise RegistryInUseError(address, warehouse=warehouse, owner=found)
