"""Ingest assets: streams that write raw tables."""
