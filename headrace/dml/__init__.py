"""Row-level operations: merge and delete, by writing the files anew that hold the rows. No SQL engine runs here."""
