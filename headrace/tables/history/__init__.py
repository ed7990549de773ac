"""The history of a table: its snapshots and, after they expire, the registry's record of them."""
