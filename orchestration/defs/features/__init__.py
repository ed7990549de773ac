"""Feature assets: dbt models that write staging and feature tables."""
