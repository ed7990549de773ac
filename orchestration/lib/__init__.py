"""Glue that several rooms of `defs` share; nothing here defines an asset."""
