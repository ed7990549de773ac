"""From sources to stream tables: read, decode, check the contract, commit rows and dead letters once.

Sources and decoders know no tables. `open_batch` alone commits, `run` decides when.
"""
