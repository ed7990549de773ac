"""The maintenance queue: its actions, their order, and how they are performed."""
