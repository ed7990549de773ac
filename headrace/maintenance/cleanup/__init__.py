"""Orphan files: finding them, moving them to the trash, restoring from it."""
