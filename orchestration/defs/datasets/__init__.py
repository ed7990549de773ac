"""Assets of datasets: pinned dataset versions."""
