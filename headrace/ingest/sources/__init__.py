"""Where records come from: `base` is the seam, `open` chooses a source, each kind has its module."""
