"""Training assets: the models that were trained on dataset versions."""
