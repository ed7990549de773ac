"""Proofs of dataset versions: hashes, lockfiles, publishing."""
