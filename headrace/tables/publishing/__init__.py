"""Publishing what was written beside `main`: audit, fast-forward, cherry-pick."""
