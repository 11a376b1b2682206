"""An order that is nearly random, and reads slow storage in long stretches."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from batchup.sampling.order import Key, Order, whole_number
from batchup.sampling.passes import PassSampler
from batchup.sampling.streams import Pass


class BlockShuffleSampler(PassSampler):
    """Shuffle blocks of neighbouring samples, and then the samples within windows of a few blocks.

    What is read at a time lies in `window` stretches of `block_size` samples. The larger both are, the closer the
    order comes to a full shuffle.

    Parameters
    ----------
    length : int
        Number of samples.
    block_size : int
        Samples in a block.
    window : int
        Blocks whose samples are shuffled together.
    repeats : int, default 1
        Number of repetitions in an epoch, -1 for endless ones.

    Raises
    ------
    TypeError, ValueError
        If an argument is not an integer of at least 1 (the length: 0).

    Examples
    --------
    >>> sampler = BlockShuffleSampler(12, block_size=2, window=2)
    >>> [batch.tolist() for batch in sampler.shuffled_indices_batch_iterator(4, 1)]
    [[5, 3, 4, 2], [11, 7, 10, 6], [9, 1, 8, 0]]
    """

    def __init__(self, length: int, block_size: int, window: int, repeats: int = 1) -> None:
        self.length = whole_number(length, "length")
        self.block_size = whole_number(block_size, "block_size", 1)
        self.window = whole_number(window, "window", 1)
        super().__init__(self.length, repeats)

    def _positions(self, order: Order, number: int) -> Pass:
        if order is None:
            return range(self.length)
        generator = order.generator(number) if isinstance(order, Key) else order
        blocks = generator.permutation(-(-self.length // self.block_size))
        positions: NDArray[np.intp] = (blocks[:, None] * self.block_size + np.arange(self.block_size)).ravel()
        positions = positions[positions < self.length]
        stretch = self.block_size * self.window
        for start in range(0, self.length, stretch):
            generator.shuffle(positions[start : start + stretch])
        return positions
