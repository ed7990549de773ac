"""Plan changes of columns and partitioning from metadata alone; `tables/alter.py` commits them."""
