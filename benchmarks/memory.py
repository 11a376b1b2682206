"""How much memory this process holds, where the system tells."""

from __future__ import annotations

import contextlib
import ctypes
import pathlib

STATUS = pathlib.Path("/proc/self/status")
CLEAR = pathlib.Path("/proc/self/clear_refs")


def held() -> int | None:
    """Bytes that lie in memory now, without what the allocator keeps for later."""
    _give_back()
    return _field("VmRSS")


def peak() -> int | None:
    """Bytes that lay in memory at most since `reset_peak`."""
    return _field("VmHWM")


def reset_peak() -> None:
    """Let the peak begin again from what is held now."""
    with contextlib.suppress(OSError):
        CLEAR.write_text("5")


def _give_back() -> None:
    # only glibc has it; elsewhere what was freed may be counted as held
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def _field(name: str) -> int | None:
    try:
        lines = STATUS.read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(name)), None)
