"""The contenders, one module per environment or role.

Each module has `WAYS`: for every kind of work that it can do, the functions that prepare it, by the name
their row will have. Such a function takes the work and its source and returns a function that begins an
epoch, or for work of one shot a trial that tells its figures; either may have a `close`. The first line of
its docstring is printed below the table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from declared import Work
from records import Shot
from slices import Epoch

Trial = Callable[[], Shot]
Way = Callable[[Work, Any], Any]  # gives an Epoch or a Trial
Ways = dict[str, dict[str, Way]]


@dataclass(frozen=True)
class Closing:
    """An epoch that needs something that has to be closed when the work is over."""

    begin: Epoch
    close: Callable[[], object]

    def __call__(self) -> Iterator[Any]:
        return self.begin()
