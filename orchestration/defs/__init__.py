"""What Dagster loads: one folder per room, files named after what they define."""
