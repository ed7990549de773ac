"""Loading: read table versions into PyTorch batches; the only package that may import torch.

Here: the order of an epoch, decoding, batches, positions. Not here: dataset versions (`datasets`),
models and training.
"""

from headrace.loading.batch import Batch, RaggedTensor, batch_of
from headrace.loading.loader import LoaderStats, SampleLoader
from headrace.loading.shuffle import Shuffle
from headrace.model_inputs.columns import hash_text
from headrace.model_inputs.spec import FeatureSpec

__all__ = [
    "Batch",
    "FeatureSpec",
    "LoaderStats",
    "RaggedTensor",
    "SampleLoader",
    "Shuffle",
    "batch_of",
    "hash_text",
]
