"""What only a real browser shows: which requests pages cause, and what other sites' pages can do."""
