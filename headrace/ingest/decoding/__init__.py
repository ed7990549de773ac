"""From records, as a source has them, to columns; a record that does not decode becomes a violation."""
