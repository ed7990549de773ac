"""Maintenance: compactions as assets, table health as checks, a round of the queue as a job."""
