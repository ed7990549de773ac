"""Jobs of Flink: what Dagster sees of them."""
