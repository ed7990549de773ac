"""Glue that must live inside someone else's framework; nothing in the library imports it.

Only this room imports dbt.
"""
