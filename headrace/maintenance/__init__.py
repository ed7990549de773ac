"""Keeping tables fast: what is unhealthy, what to do about it, and doing it.

Decisions are pure functions from metadata to a plan; only `apply_*` touches storage.
"""
