"""From records to columns; a record that cannot be decoded becomes a violation."""
