"""Starts, checks and stops the servers of `infra/` from their published packages.

Servers listen on loopback only and are stopped by process id. Nothing here is imported by headrace.
"""
