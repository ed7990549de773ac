"""The Iceberg format: schemas, partitions, manifests, refs and retention, from metadata to bytes.

The only room that may use PyIceberg's private names, so that an upgrade of it is looked at here. It
knows no lake: what it decides, it decides from the metadata and the files that it is given.
"""
