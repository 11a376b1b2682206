"""Memory of units is used again when nobody refers to it, and only then."""

from __future__ import annotations

import numpy as np

from batchup.hypersequence.spares import LOOKED_AT, Spares


def test_used_again() -> None:
    """An array comes back writable, the one that has waited longest first."""
    spares = Spares(100, 3)
    made = [spares.empty(100) for _ in range(4)]
    places = [one.ctypes.data for one in made]
    while made:
        one = made.pop(0)
        one.flags.writeable = False
        spares.put(one)
        del one
    again = [spares.empty(100) for _ in range(4)]
    assert [one.ctypes.data for one in again[:3]] == places[1:]  # no more than three waited
    assert all(one.flags.writeable for one in again)


def test_what_somebody_holds() -> None:
    """Slices, memoryviews and arrays in the same memory keep it from being used again, until they go."""
    for hold in (lambda one: one[3:5], memoryview, lambda one: np.frombuffer(one.data[:8], "<i8"), lambda one: one):
        spares = Spares(100, 9)
        one = spares.empty(100)
        one[:] = 7
        held, place = hold(one), one.ctypes.data
        spares.put(one)
        del one
        for _ in range(2 * LOOKED_AT):
            spares.empty(100)[:] = 0
        assert bytes(held).strip(b"\7") == b""
        del held
        assert spares.empty(100).ctypes.data == place


def test_other_sizes() -> None:
    """An array of another size is a new one, and is not kept."""
    spares = Spares(100, 9)
    last = spares.empty(60)
    assert last.shape == (60,)
    spares.put(last)
    assert spares.empty(100).shape == (100,)
