"""The health of a table, measured from metadata alone, and what each problem costs."""
