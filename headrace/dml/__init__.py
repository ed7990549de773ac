"""Row-level operations: merge and delete by copy-on-write. No SQL engine runs here."""
