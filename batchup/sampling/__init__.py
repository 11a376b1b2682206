"""Which samples, in what order: index batches that can be drawn again from what the user passed in."""

from batchup.sampling.abstract import AbstractSampler, num_batches
from batchup.sampling.balanced import BalancedBatchSampler
from batchup.sampling.blocks import BlockShuffleSampler
from batchup.sampling.groups import BucketSampler, GroupSampler
from batchup.sampling.splitting import k_fold, split
from batchup.sampling.standard import StandardSampler, SubsetSampler
from batchup.sampling.stratified import StratifiedSampler
from batchup.sampling.weighted import WeightedSampler, WeightedSubsetSampler

__all__ = [
    "AbstractSampler",
    "BalancedBatchSampler",
    "BlockShuffleSampler",
    "BucketSampler",
    "GroupSampler",
    "StandardSampler",
    "StratifiedSampler",
    "SubsetSampler",
    "WeightedSampler",
    "WeightedSubsetSampler",
    "k_fold",
    "num_batches",
    "split",
]
