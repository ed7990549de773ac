"""One Iceberg table done right: commits, files, reading at a snapshot, refs, schema changes.

Nothing here knows about streams, samples or datasets; engines and every later room build on it.
"""
