"""Engines run SQL on pinned snapshots and write data files that the caller commits.

Here: the `Engine` and `Dialect` protocols, their implementations, and the checks that keep an
engine from misreading a table. Not here: row-level operations (`dml`) and commits (`tables`).
"""
