"""Engines run SQL on pinned snapshots and write files for the committer to adopt.

An engine never commits: only `headrace.tables.commit` changes what a table holds.
"""
