"""Assets of samples: sample sets, day by day."""
