"""Optional dependencies, imported where they are first used."""

from __future__ import annotations

import importlib
from typing import Any

from batchup.errors import MissingExtraError


def required(module: str, extra: str, user: str) -> Any:
    """Return a module that belongs to an extra.

    Raises
    ------
    MissingExtraError
        If it is not installed, with the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(f'{user} needs {module}: pip install "batchup[{extra}]"') from error
