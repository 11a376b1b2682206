"""The soak of the worker pools, for a minute where tests run unattended, for seconds elsewhere."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from . import soak

UNATTENDED = os.environ.get("BATCHUP_TEST_ALL") == "1"  # once in a run of CI, where it costs the least
SECONDS = float(os.environ.get("BATCHUP_SOAK_SECONDS", "30" if UNATTENDED else "5"))


@pytest.mark.xdist_group("soak")
@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="looks at processes and memory through /proc")
def test_soak() -> None:
    """Workers are killed, consumers keep, view and drop: every batch is right, all is level, nothing is left."""
    assert soak.main(["--seconds", str(SECONDS), "--seed", str(os.getpid())]) == 0
