"""Engines run SQL on pinned snapshots; merges and row-level deletes work out what files become.

Here files are read and written, never adopted: only `headrace.tables.commits.operations` changes what a table
holds, and whoever changes rows here asks it to.
"""
