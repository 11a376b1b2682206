"""W5: a shuffled order of many samples, and entering it anywhere."""

from __future__ import annotations

from declared import Bench, Case, Target, Work

NOTE = (
    "A batch is 256 indices; no data is read. *permutation* draws all of it at the beginning of an epoch, and is "
    "charged a share of that for every batch; it has no way to be entered but to be drawn. Held is the memory "
    "that remains behind the first batch, peak the most there was."
)
ENTER_NOTE = (
    "A unit is: make an iterator, load the state of a position chosen at random, and take the indices of its next "
    "batch of 256."
)


def _case(rows: int) -> Case:
    targets = (Target("batchup", 5.5), Target("batchup", 100, "Grain"))
    return Case(f"{rows:,} samples", Work("order", rows, 256), targets)


def _enter_case(rows: int) -> Case:
    return Case(f"{rows:,} samples", Work("enter", rows, 256), (Target("batchup", 200),))


BENCHES = (
    Bench(
        "w5a",
        "Shuffled order, B = 256",
        (),
        (_case(10**7), _case(10**8), _case(10**9)),
        NOTE,
        shows_memory=True,
    ),
    Bench(
        "w5b",
        "Entering an epoch at any batch",
        (),
        (_enter_case(10**7), _enter_case(10**9)),
        ENTER_NOTE,
        unit="entry",
    ),
)
