"""Where records come from: sources, their positions, and cutting them into records."""
