"""Compaction: which files to rewrite together, in which order, and rewriting them."""
