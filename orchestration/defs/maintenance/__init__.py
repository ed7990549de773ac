"""Assets of maintenance: compaction and table health."""
