"""What processes hold, read from /proc."""

from __future__ import annotations

import contextlib
import os
import pathlib
from collections.abc import Iterable

PROC = pathlib.Path("/proc")


PROPORTIONAL = "PSS a worker, MB"
FIELDS = {
    PROPORTIONAL: ("Pss",),
    "of it anonymous": ("Pss_Anon",),
    "shared memory": ("Pss_Shmem",),
    "files": ("Pss_File",),
    "private a worker, MB": ("Private_Clean", "Private_Dirty"),
}
TOGETHER = "all together, MB"


def held_by(pids: Iterable[int], before: int) -> dict[str, float]:
    """Tell what workers hold on average, and how much more than `before` this process and its descendants hold.

    Of pages that several hold, PSS counts to each an equal part; private are those that one alone holds.
    """
    found = [_fields(pid) for pid in pids]
    means = {name: sum(sum(one[key] for key in keys) for one in found) / len(found) for name, keys in FIELDS.items()}
    return {**means, TOGETHER: held_by_family() - before}


def added(large: dict[str, float], small: dict[str, float], scale: float = 1) -> dict[str, float]:
    """Tell how many MB more is held in one case than in the other."""
    return {name: scale * (large[name] - small[name]) / 1e6 for name in large}


def family() -> list[int]:
    """Give this process and all that descend from it."""
    parents = dict(_parents())
    found = [os.getpid()]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def held_by_family() -> int:
    """Bytes that this process and its descendants hold together."""
    total = 0
    for pid in family():
        with contextlib.suppress(OSError):
            total += _fields(pid)["Pss"]
    return total


def _parents() -> Iterable[tuple[int, int]]:
    for folder in PROC.iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                # the name in parentheses may itself hold blanks
                yield int(folder.name), int((folder / "stat").read_text().rpartition(")")[2].split()[1])


def _fields(pid: int) -> dict[str, int]:
    lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()[1:]
    pairs = (line.partition(":") for line in lines)
    return {name: int(value.split()[0]) * 1024 for name, _, value in pairs}
