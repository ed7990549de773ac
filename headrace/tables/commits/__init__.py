"""The committer: what a commit is, how it is staged, how it lands. No other code changes what a table holds."""
