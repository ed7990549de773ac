"""Tests of how benchmarks measure, with contenders whose cost is known; not of what they find."""
