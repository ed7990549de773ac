"""The demo: real shop logs from landing files to a trained model and an online score.

Only what a newcomer runs lives here; everything it does is the library, driven by the asset graph.
"""
