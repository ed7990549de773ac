"""What happened to a table: snapshots and, once they expired, the registry's record of them."""
