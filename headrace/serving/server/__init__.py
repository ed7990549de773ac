"""The feature server: vectors, scores and rankings over HTTP.

Here: requests and answers, limits, metrics, and what runs it. Not here: how a vector is looked up or
a row is scored, which callers in the same process do with `lookup_vectors` and `Scorer`.
"""
