"""Names for snapshots: tags, branches and leases, and moving a branch without losing commits."""
