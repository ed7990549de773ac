"""Tests mirror the rooms; `contract/` holds one suite per Protocol."""
