"""The definitions that Dagster loads: one folder per library package, files by kind."""
