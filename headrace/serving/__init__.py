"""The online side: the latest feature values by entity, and vectors assembled from them.

Here: the store Protocol, its implementations and `open_store`, which chooses one from settings;
publishing from feature views; look-ups. Not here:
how features are computed, or anything that reads history.
"""
