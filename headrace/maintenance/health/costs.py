"""Cost constants of reading and committing, from which gains are estimated.

Measured on this code (local disk, warm cache, CPU time; two cores). They only rank actions; absolute
times differ between machines.
"""

# 400 files of 100 rows against one of 40,000 (5 columns): 0.4 to 0.8 ms per additional file
OPEN_FILE_S = 0.0004
# listing a snapshot's files: 50 to 95 µs for each entry (5 columns)
ENTRY_S = 0.00006
# 400 manifests of 5 entries against one of 2,000: 1 to 1.8 ms per additional manifest
OPEN_MANIFEST_S = 0.001
# rewriting 4,000 entries sorted by partition, reading and committing included
REWRITE_ENTRY_S = 0.00025
# an append to a table with 320 snapshots against one with 20: 80 µs per additional snapshot
SNAPSHOT_S = 0.00008
# parsing the 240 KB of metadata of 340 snapshots took 16 ms; a commit also writes as much
METADATA_BYTE_S = 0.07e-6
# an entry with bounds of 200 columns takes 155 µs to read, with bounds of 32 it takes 101 µs
BOUND_S = 0.3e-6
