"""What is unhealthy about a table, from metadata alone, and what it costs."""
