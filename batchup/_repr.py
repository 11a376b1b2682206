"""One `repr` for all objects: the call that rebuilds them, with arrays shown by dtype and shape."""

from __future__ import annotations

import inspect
import numbers
from typing import Any

_MOST = 8


class Represented:
    """Give a class a `repr` made from its constructor's parameters and the attributes of the same names."""

    def __repr__(self) -> str:
        fields = []
        for parameter in inspect.signature(type(self)).parameters.values():
            if parameter.kind is parameter.VAR_KEYWORD:
                given = getattr(self, f"_{parameter.name}", {})
                fields += [f"{key}={brief(value)}" for key, value in given.items()]
                continue
            name = getattr(type(self), "_kept_as", {}).get(parameter.name, parameter.name)
            if hasattr(self, name) and getattr(self, name) is not parameter.default:
                fields.append(f"{parameter.name}={brief(getattr(self, name))}")
        return f"{type(self).__name__}({', '.join(fields)})"


def brief(value: Any, inner: bool = False) -> str:
    """Show a value in a few characters: scalars and batchup's own objects so that they can be rebuilt.

    >>> import numpy as np
    >>> brief([np.zeros((3, 2)), 5, [1, 2, 3]])
    '[<float64 (3, 2)>, 5, <list of 3>]'
    """
    if value is None or isinstance(value, (bool, numbers.Number, str, Represented)):
        return repr(value)
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"<{value.dtype} {tuple(value.shape)}>"
    if isinstance(value, (list, tuple, dict)) and not inner and len(value) <= _MOST:
        return _container(value)
    if hasattr(value, "__len__"):
        return f"<{type(value).__name__} of {len(value)}>"
    if inspect.isroutine(value):
        return getattr(value, "__qualname__", repr(value))
    return repr(value)


def _container(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key!r}: {brief(part, inner=True)}" for key, part in value.items()) + "}"
    shown = ", ".join(brief(part, inner=True) for part in value)
    return f"[{shown}]" if isinstance(value, list) else f"({shown}{',' * (len(value) == 1)})"
