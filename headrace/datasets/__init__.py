"""Dataset versions: what was published, proof that it still reads the same, and how to rebuild it.

Here: lockfiles, file plans, content hashes, publish, verify, rebuild. Not here: computing samples
(`samples`) or reading them into tensors (`loading`).
"""
