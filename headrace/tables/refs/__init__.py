"""Refs: tags, branches and leases, and moving branches without losing commits."""
