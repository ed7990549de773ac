"""Maintenance: compactions as assets, table health as checks, rounds of the queue as a job."""
