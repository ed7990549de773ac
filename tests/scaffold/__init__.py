"""A new lake, and what an installation carries."""
