"""What a user declares, as checked models: streams, feature views, sample sets. No I/O but reading YAML."""
