"""Assets of serving: the online store."""
