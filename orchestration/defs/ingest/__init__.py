"""Assets of ingest: streams into raw tables."""
