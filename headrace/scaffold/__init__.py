"""Starts a lake of one's own: what an installation carries, and the files of a new lake.

What the files say lies in `new_lake`; the pages, the asset graph and dbt's macros lie in rooms of
their own, and the wheel carries them.
"""
