"""Streams and rows of window views written by Flink: SQL from declarations, jobs by the SQL gateway.

What Flink cannot say in SQL is refused by name. Whatever it wrote into a stream is looked at as rows and dead
letters with coordinates: `note` takes note of it, so that audits, watermarks and the next ingester go on from
it. The rows of a view are those of `samples/window_rows.py`, which adds what is there before a job begins.
"""
