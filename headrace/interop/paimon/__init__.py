"""Paimon: keyed tables that Flink writes. `take` imports them, `give` writes them, `support` says which."""
