"""Dagster only: the asset graph of a lake, read from its declarations.

Bodies are thin: open the lake, call one library function, report metadata. `defs` holds what
Dagster loads, one folder per room of the library; `lib` holds the glue they share.
"""
