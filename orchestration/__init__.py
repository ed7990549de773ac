"""The Dagster shell: the asset graph of a lake, generated from its declarations.

Asset bodies are thin: open the lake, call one library function, report metadata. `defs` contains
what Dagster loads, one folder per library package; `lib` contains shared code.
"""
