"""Dataset assets: pinned dataset versions."""
