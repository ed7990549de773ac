"""From sources to stream tables: decode, contract, dead letters, fenced commit.

Sources, decoders and the contract know nothing of tables; `run` alone commits.
"""
