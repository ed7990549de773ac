"""Proofs of the online store's publishing and look-ups."""
