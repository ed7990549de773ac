"""Texts that users read, as files: one for each surface, checked by the tests of that surface."""
