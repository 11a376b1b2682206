"""Columns cast to other dtypes: equal, rounded from floats to floats, or an error; never changed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from batchup.errors import InvalidValueError
from batchup.formats.casting import cast

NUMBERS = ["?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16"]


@given(data=st.data(), had=st.sampled_from(NUMBERS), has=st.sampled_from(NUMBERS))
def test_law(data: Any, had: str, has: str) -> None:
    """What is cast is equal, as Python compares numbers; but for floats, which may be rounded to floats."""
    values = data.draw(arrays.arrays(np.dtype(had), st.integers(0, 4)))
    try:
        found = cast(values, np.dtype(has), "x")
    except InvalidValueError:
        return
    assert found.dtype == np.dtype(has)
    for one, other in zip(values.tolist(), found.tolist(), strict=True):
        check(one.real, other.real, np.dtype(had).kind in "fc" and np.dtype(has).kind in "fc")
        check(one.imag, other.imag, np.dtype(had).kind in "fc")


def check(one: Any, other: Any, rounded: bool) -> None:
    """Check that a number is another one, or that rounded."""
    if one != one:
        assert other != other
    elif rounded and np.isfinite(one):
        assert other == pytest.approx(one, rel=1e-2, abs=1e-7)
        assert (other == 0) == (one == 0)
    else:
        assert other == one


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([1 + 2j], "f8"),
        ([2**53 + 1], "f8"),
        ([16_777_217], "f4"),
        (np.array([2**64 - 1], "u8"), "f8"),
        ([1e-300], "f4"),
        ([300], "u1"),
        ([-1], "u8"),
        ([0.5], "i4"),
        ([np.nan], "i4"),
        (np.array(["abc"]), "U2"),
    ],
)
def test_what_cannot_be(values: Any, dtype: str) -> None:
    """A value that would be another one is an error that shows it."""
    with pytest.raises(InvalidValueError, match=r"^column 'x': .* cannot be "):
        cast(np.asarray(values), np.dtype(dtype), "x")


def test_times() -> None:
    """No time stays no time."""
    found = cast(np.array(["NaT", "2026-11-22"], "M8[D]"), np.dtype("M8[ns]"), "x")
    assert np.isnat(found[0])
    assert found[1] == np.datetime64("2026-11-22")
