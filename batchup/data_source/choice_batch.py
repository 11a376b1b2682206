"""The indices of one batch of a choice."""

from __future__ import annotations

from typing import Any, NamedTuple


class ChoiceBatch(NamedTuple):
    """The indices of a batch of a `ChoiceDataSource`: samples, and the number of the member they belong to."""

    sample_indices: Any
    ds_index: int
