"""Assets of features: dbt models into staging and feature tables."""
