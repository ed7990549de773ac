"""The Iceberg format: schemas, partitions, manifests, refs and retention, from metadata to bytes.

Only this package uses PyIceberg's private names, so an upgrade of PyIceberg is reviewed here. It
does not depend on a lake: its decisions use only the metadata and files passed to it.
"""
