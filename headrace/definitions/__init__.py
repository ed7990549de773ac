"""Declarations of users as validated models: streams, feature views, sample sets. Only reads YAML."""
