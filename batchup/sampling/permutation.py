"""Seeded permutations of any length, entered at any place."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup.sampling.order import Key

DRAWN = 1 << 20  # up to here a permutation is drawn and kept: that is as fast, and as good as it gets
BLOCK = 1 << 16
FIRST_BLOCK = 1 << 8
FEW = 16
_ROUNDS = 6


class MixedPermutation:
    """A pseudo-random permutation of 0 .. n - 1 that is computed where it is looked at.

    Six rounds of multiply by an odd number, add and xor-shift, which each are bijections of the b-bit integers;
    what falls outside 0 .. n - 1 is mixed again until it falls inside (cycle walking: J. Black and P. Rogaway,
    "Ciphers with arbitrary finite domains", 2002). Its constants come from `seeds`.

    It is sliced like an array. Slices that follow one another are cut from blocks, which grow with the distance
    covered: entering is cheap, and so is going on.
    """

    def __init__(self, n: int, seeds: np.random.SeedSequence) -> None:
        self._n = n
        bits = max(2, (n - 1).bit_length())
        self._type: Any = np.uint32 if bits <= 32 else np.uint64
        self._mask = self._type((1 << bits) - 1)
        words = seeds.generate_state(2 * _ROUNDS, np.uint64).astype(self._type)
        self._factors = words[:_ROUNDS] | self._type(1)
        self._terms = words[_ROUNDS:]
        self._shifts = [self._type(max(1, (bits + 1) // 2 - i % 2)) for i in range(_ROUNDS)]
        self._rounds = [tuple(map(int, r)) for r in zip(self._factors, self._terms, self._shifts, strict=True)]
        self._start = 0
        self._block: NDArray[np.intp] = np.empty(0, np.intp)

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, places: slice) -> NDArray[np.intp]:
        start, stop = places.start, min(places.stop, self._n)
        if not self._start <= start <= stop <= self._start + len(self._block):
            follows = self._start <= start <= self._start + len(self._block) and len(self._block) > 0
            size = min(2 * len(self._block), BLOCK) if follows else FIRST_BLOCK
            self._block = self.at(np.arange(start, min(max(start + size, stop), self._n)))
            self._start = start
        return self._block[start - self._start : stop - self._start]

    def at(self, places: NDArray[Any]) -> NDArray[np.intp]:
        """Return the indices at any places."""
        mixed = self._mix(places.astype(self._type))
        outside = np.flatnonzero(mixed >= self._n)
        while len(outside) > FEW:
            again = self._mix(mixed[outside])
            mixed[outside] = again
            outside = outside[again >= self._n]
        for i in outside.tolist():
            mixed[i] = self._walk(int(mixed[i]))
        return mixed.astype(np.intp)

    def _walk(self, x: int) -> int:
        """Mix one number until it falls inside: Python is faster than NumPy for a few."""
        mask = int(self._mask)
        while x >= self._n:
            for factor, term, shift in self._rounds:
                x = (x * factor + term) & mask
                x ^= x >> shift
        return x

    def _mix(self, x: NDArray[Any]) -> NDArray[Any]:
        shifted = np.empty_like(x)
        for factor, term, shift in zip(self._factors, self._terms, self._shifts, strict=True):
            x *= factor
            x += term
            x &= self._mask
            np.right_shift(x, shift, out=shifted)
            x ^= shifted
        return x


def seeded_permutation(n: int, key: Key, *place: int) -> NDArray[np.intp] | MixedPermutation:
    """Return the permutation of 0 .. n - 1 of a place under a key, to be sliced.

    >>> seeded_permutation(5, Key(1))
    array([2, 0, 3, 1, 4])
    """
    if n > DRAWN:
        return MixedPermutation(n, key.seeds(*place))
    drawn: NDArray[np.intp] = key.generator(*place).permutation(n)
    return drawn
