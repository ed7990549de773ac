"""Tests of headrace/samples: joins, labels, builds."""
