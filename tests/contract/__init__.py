"""One behaviour suite per Protocol, passed by every implementation."""
