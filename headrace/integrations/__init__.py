"""Code that runs inside another framework; nothing in the library imports it.

Only this room imports dbt.
"""
