"""Serving assets: the online store."""
