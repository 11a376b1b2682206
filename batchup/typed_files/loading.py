"""What features load from one source."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from batchup.errors import InvalidTypeError
from batchup.typed_files.arrays import as_array
from batchup.typed_files.feature import Feature, Group


def loaded(source: str, schema: Mapping[str, Feature]) -> dict[str, Any]:
    """Return what features load from a source, by name; those that do not take it, or load nothing, are left out.

    Raises
    ------
    InvalidTypeError
        If a feature loads something else than arrays.
    Exception
        What a `load` raises; its notes name the source and the feature.
    """
    found: dict[str, Any] = {}
    for name, feature in schema.items():
        data = loaded(source, feature.features) or None if isinstance(feature, Group) else _one(source, feature, found)
        if data is not None:
            found[name] = data
    return found


def _one(source: str, feature: Feature, before: Mapping[str, Any]) -> Any:
    if not feature.loads:
        return None
    derived = getattr(feature, "derived_from", None)
    if derived is None and re.search(feature.__re__, source) is None:
        return None
    if derived is not None and derived not in before:
        return None
    try:
        return _checked(feature.load(source if derived is None else before[derived]), feature)
    except Exception as error:
        note = f"while {feature!r} loaded {source!r}"
        error.__dict__.setdefault("__notes__", []).append(note)  # what add_note does, also before Python 3.11
        raise


def _checked(data: Any, feature: Feature) -> Any:
    """Return arrays, or a dict of them; an error for anything else."""
    if isinstance(data, Mapping):
        return {name: _checked(part, feature) for name, part in data.items() if part is not None}
    if data is None or isinstance(data, (np.ndarray, str, list, tuple, int, float, complex, np.generic)):
        return data
    if hasattr(data, "__array__"):
        return as_array(data, feature.name)
    raise InvalidTypeError(
        f"{type(feature).__name__}.load must return an array, a dict of arrays, or None, got {type(data).__name__}"
    )
