"""What the registry and the tables say happened, whoever did it, as events of assets."""
