"""Trino: its configuration, and the making of its certificate and password file."""
