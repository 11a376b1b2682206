"""The CRC-32 is zlib's, whoever computes it."""

from __future__ import annotations

import subprocess
import sys
import zlib

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from isal import isal_zlib

from batchup._crc import crc32


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_as_zlib(one: bytes, other: bytes) -> None:
    """Of bytes and of arrays, from a value on, too."""
    assert crc32(one) == zlib.crc32(one)
    assert crc32(np.frombuffer(other, np.uint8).data, crc32(one)) == zlib.crc32(one + other)


def test_by_whom() -> None:
    """By ISA-L where it is installed, else by the standard library."""
    assert crc32 is isal_zlib.crc32
    without = "import sys; sys.modules['isal'] = None\nfrom batchup._crc import crc32; print(crc32.__module__)"
    found = subprocess.run([sys.executable, "-c", without], capture_output=True, text=True, check=True)
    assert found.stdout == "zlib\n"
