"""Which samples, in what order: index batches that can be drawn again from what the user passed in."""

from batchup.sampling.abstract import AbstractSampler, num_batches
from batchup.sampling.standard import StandardSampler, SubsetSampler
from batchup.sampling.weighted import WeightedSampler, WeightedSubsetSampler

__all__ = [
    "AbstractSampler",
    "StandardSampler",
    "SubsetSampler",
    "WeightedSampler",
    "WeightedSubsetSampler",
    "num_batches",
]
