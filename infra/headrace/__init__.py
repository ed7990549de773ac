"""The image of headrace, and what its containers run besides headrace itself."""
