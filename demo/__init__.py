"""The demo: real shop logs from landing files to a trained model and an online score.

It contains only what a first-time user runs; all work is done by the library and the asset graph.
"""
