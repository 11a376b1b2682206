"""The contenders, one module per environment or role.

Each module has `WAYS`: for every kind of work that it can do, the functions that prepare it, by the name
their row will have. Such a function takes the work and its source and returns a function that begins an
epoch. The first line of its docstring is printed below the table.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from declared import Work
from slices import Epoch

Way = Callable[[Work, Any], Epoch]
Ways = dict[str, dict[str, Way]]
