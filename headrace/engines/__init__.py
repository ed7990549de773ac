"""Engines run SQL on pinned snapshots and write files for the committer to adopt."""
