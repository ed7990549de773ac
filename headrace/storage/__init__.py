"""Bytes and where they lie: opening, checking, syncing and naming files. Knows no table format."""
