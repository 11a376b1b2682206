"""W4: weighted draws, with replacement, from many weights."""

from __future__ import annotations

from declared import Bench, Case, Target, Work

NOTE = (
    "A batch is 256 indices. *table + search* is both what is written by hand and the limit of an exact "
    "stream. Build is the time until the first batch is there; held is the memory that remains then, peak "
    "the most there was, both without the weights themselves. The targets in us were set on a 2-core Zen 5 "
    "machine where *table + search* took 57, 283 and 501 us."
)


def _case(rows: int, exact: float, plan: float) -> Case:
    targets = (Target("batchup", exact), Target("batchup, plan", plan))
    return Case(f"{rows:,} weights", Work("weighted", rows, 256), targets)


BENCHES = (
    Bench(
        "w4",
        "Weighted draws, B = 256",
        ("table + search",),
        (_case(10**6, 60, 5), _case(10**7, 290, 9), _case(10**8, 510, 10)),
        NOTE,
        shows_memory=True,
    ),
)
