"""Changes of a table's columns and partitioning, decided from metadata alone; `tables/alter.py` lands them."""
