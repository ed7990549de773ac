"""Publishing branches to `main`: audit, fast-forward, cherry-pick."""
