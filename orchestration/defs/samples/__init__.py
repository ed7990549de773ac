"""Sample assets: sample sets, partitioned by day."""
