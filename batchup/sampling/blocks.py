"""An order that is nearly random, and reads slow storage in long stretches."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup._numbers import whole_number
from batchup.sampling.classes import checked_subset
from batchup.sampling.order import Key, Order
from batchup.sampling.passes import PassSampler
from batchup.sampling.permutation import seeded_permutation
from batchup.sampling.streams import PassOrder


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
        Blocks whose samples are shuffled together; 0 leaves the samples of each block together, and in order.
    repeats : int, default 1
        Number of repetitions in an epoch, -1 for endless ones.
    indices : array-like of int, optional
        Draw from these samples only; neighbours are then those that stand together here.

    Raises
    ------
    TypeError, ValueError
        If an argument is not an integer of at least 1 (length and window: 0), or an index cannot be used.

    Examples
    --------
    >>> sampler = BlockShuffleSampler(12, block_size=2, window=2)
    >>> [batch.tolist() for batch in sampler.shuffled_indices_batch_iterator(4, 1)]
    [[3, 2, 6, 7], [8, 9, 5, 4], [0, 10, 1, 11]]
    """

    def __init__(self, length: int, block_size: int, window: int, repeats: int = 1, indices: Any = None) -> None:
        self.length = whole_number(length, "length")
        self.indices = checked_subset(indices, self.length)
        self.block_size = whole_number(block_size, "block_size", 1)
        self.window = whole_number(window, "window", 0)
        super().__init__(self.length if self.indices is None else len(self.indices), repeats, self.indices)

    def _positions(self, order: Order, number: int) -> PassOrder:
        if order is None:
            return range(self._num_positions)
        # a generator gives one number, from which all follows; so nothing but the window in use is kept
        key = order if isinstance(order, Key) else Key(int(order.random() * 2**53))
        return _Windows(self._num_positions, self.block_size, self.window, key, number)


class _Windows:
    """The order of one pass, made window by window.

    The last block is short if the length is no multiple of the block size. It has a slot of its own among the
    others, at random; the window that holds it is shorter by what it lacks.
    """

    def __init__(self, length: int, block_size: int, window: int, key: Key, number: int) -> None:
        self._length = length
        self._block_size = block_size
        self._window = max(1, window)
        self._keeps_blocks = window == 0
        self._key = key
        self._number = number
        whole, self._rest = divmod(length, block_size)
        self._blocks = seeded_permutation(whole, key, number, 0)
        self._short_slot = int(key.generator(number, 1).random() * (whole + 1)) if self._rest else whole + 1
        self._made = -1
        self._samples = np.empty(0, np.intp)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, places: slice) -> NDArray[np.intp]:
        start, stop = places.start, min(places.stop, self._length)
        if self._keeps_blocks:
            return self._whole_blocks(start, stop)
        pieces = [np.empty(0, np.intp)]
        while start < stop:
            window = start // (self._window * self._block_size)
            if start >= self._start(window + 1):
                window += 1
            begin = self._start(window)
            pieces.append(self._of_window(window)[start - begin : stop - begin])
            start += len(pieces[-1])
        return pieces[1] if len(pieces) == 2 else np.concatenate(pieces)

    def _whole_blocks(self, start: int, stop: int) -> NDArray[np.intp]:
        """Return the samples at places of an order of blocks whose samples keep theirs."""
        places, size = np.arange(start, stop), self._block_size
        short = self._short_slot * size  # the place where the short block begins
        behind = places >= short + self._rest
        slots, within = np.divmod(np.where(behind, places - self._rest, places), size)
        in_short = (places >= short) & ~behind
        if not len(places):
            return places
        first, last = int(slots[0]), int(slots[-1])
        blocks = np.append(self._blocks[first : last + 1], 0)  # the last one stands for the short block
        samples = blocks[np.minimum(slots - first, len(blocks) - 1)] * size + within
        return np.where(in_short, self._length - self._rest + places - short, samples)

    def _start(self, window: int) -> int:
        """Return the place at which a window begins."""
        lacking = self._block_size - self._rest if self._short_slot < window * self._window else 0
        return window * self._window * self._block_size - lacking

    def _of_window(self, window: int) -> NDArray[np.intp]:
        if window != self._made:
            first, last = window * self._window, (window + 1) * self._window
            short = first <= self._short_slot < last
            passed = int(self._short_slot < first)
            blocks = np.asarray(self._blocks[first - passed : last - passed - short], np.intp)
            samples = (blocks[:, None] * self._block_size + np.arange(self._block_size)).ravel()
            if short:
                samples = np.append(samples, np.arange(self._length - self._rest, self._length))
            self._samples = samples[self._key.generator(self._number, 2, window).permutation(len(samples))]
            self._made = window
        return self._samples
