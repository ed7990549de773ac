"""The committer: what a commit is, how it is staged and how it lands. Only it changes table contents."""
