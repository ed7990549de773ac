"""Declarations that cannot be used, as assets that fail and say why."""
