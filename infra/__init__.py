"""The servers that the cluster profile needs: their configuration, and a launcher without containers."""
