"""Proofs of the sample loader: order, shares, positions, nulls, damage."""
