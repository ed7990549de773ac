"""Tests of the traffic generator: same bytes, right rates, a truth that plain Python confirms."""
