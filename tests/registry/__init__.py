"""Tests of the registry, on each database that it can be in."""
