"""Ingestion: decoding, the contract, and exactly once through crashes and rivals."""
