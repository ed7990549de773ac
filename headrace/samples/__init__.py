"""Training samples: exposures joined to what serving knew and to what happened afterwards.

Here: the point-in-time join, labels, partition builds and their audits. Not here: declaring a
sample set (`definitions`) or freezing its rows as a dataset version (`datasets`).
"""
