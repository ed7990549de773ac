"""Tables of Paimon: what Dagster sees of them."""
