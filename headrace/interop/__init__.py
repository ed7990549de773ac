"""Tables of other formats: read incrementally into the lake, and written from it.

One package for each foreign system. Here: what may be read of it, how far an import is, and the way
in both directions. Not here: records of topics and files (`ingest`), and other catalogs of Iceberg
(`tables/catalogs`).
"""
