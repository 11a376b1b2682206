"""What the figures were measured on, without anything that would name the machine."""

from __future__ import annotations

import os
import pathlib
import platform

import numpy as np


def describe() -> dict[str, str]:
    """Describe processor, cores, memory, system and versions."""
    return {
        "processor": processor(),
        "cores": str(os.cpu_count()),
        "memory": memory(),
        "system": platform.system(),
        "python": platform.python_version(),
        "numpy": np.__version__,
    }


def processor() -> str:
    """Tell the model of the processor, with family and model number where the name alone says little."""
    lines = _lines("/proc/cpuinfo")
    name = _after_colon(lines, "model name") or platform.processor() or platform.machine()
    numbers = [_after_colon(lines, key) for key in ("cpu family", "model")]
    return f"{name} (family {numbers[0]}, model {numbers[1]})" if all(numbers) else name


def memory() -> str:
    """Tell how much memory there is."""
    total = _after_colon(_lines("/proc/meminfo"), "MemTotal")
    return f"{int(total.split()[0]) / 2**20:.0f} GiB" if total else "unknown"


def _lines(path: str) -> list[str]:
    try:
        return pathlib.Path(path).read_text().splitlines()
    except OSError:
        return []


def _after_colon(lines: list[str], key: str) -> str:
    pairs = (line.partition(":") for line in lines)
    return next((value.strip() for name, _, value in pairs if name.strip() == key), "")
