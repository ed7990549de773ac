"""Make the tables of the catalog that Trino and PyIceberg share: Trino expects them."""

from pyiceberg.catalog.sql import SqlCatalog

NAME = "lake"  # also that of `infra/trino/catalog/lake.properties`
WAREHOUSE = "s3://lake/warehouse"


def make(uri: str) -> None:
    """Make the tables in a database unless they are there; its user owns them."""
    SqlCatalog(NAME, uri=uri, warehouse=WAREHOUSE).close()
