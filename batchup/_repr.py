"""One `repr` for all objects: the call that rebuilds them, with arrays shown by dtype and shape."""

from __future__ import annotations

import inspect
from typing import Any


class Represented:
    """Give a class a `repr` made from its constructor's parameters and the attributes of the same names."""

    def __repr__(self) -> str:
        parameters = inspect.signature(type(self)).parameters.values()
        shown = ((p.name, getattr(self, p.name), p.default) for p in parameters if hasattr(self, p.name))
        fields = ", ".join(f"{name}={brief(value)}" for name, value, default in shown if value is not default)
        return f"{type(self).__name__}({fields})"


def brief(value: Any) -> str:
    """Show a value in a few characters.

    >>> import numpy as np
    >>> brief([np.zeros((3, 2)), 5])
    '[<float64 (3, 2)>, 5]'
    """
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"<{value.dtype} {tuple(value.shape)}>"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k!r}: {brief(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        if len(value) > 8:
            return f"<{type(value).__name__} of {len(value)}>"
        left, right = ("[", "]") if isinstance(value, list) else ("(", ",)" if len(value) == 1 else ")")
        return left + ", ".join(map(brief, value)) + right
    if inspect.isroutine(value):
        return getattr(value, "__qualname__", repr(value))
    return repr(value)
