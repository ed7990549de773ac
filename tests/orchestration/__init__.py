"""Tests of the asset graph: what is in it, what it does to a real lake, what asks for runs."""
