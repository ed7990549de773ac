"""Streams written by Flink: SQL from contracts, jobs by the SQL gateway, and handover by offsets.

What Flink cannot say in SQL is refused by name. Whatever it wrote is looked at as rows and dead letters
with coordinates: `note` takes note of it, so that audits, watermarks and the next ingester go on from it.
"""
