"""Tensors that share memory with old batches find it untouched."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest
import tensorflow as tf
import torch
from hypothesis import given
from hypothesis import strategies as st

from batchup.data_source import ArrayDataSource, CompositeDataSource

SMALL = np.arange(150 * 8, dtype=np.float32).reshape(150, 8)
LARGE = np.arange(45 * 6000, dtype=np.float32).reshape(45, 6000)

KEEP: dict[str, Callable[[Any], Any]] = {
    "torch.from_numpy": torch.from_numpy,
    "a slice of a tensor": lambda b: torch.from_numpy(b)[1:],
    "a transpose of a tensor": lambda b: torch.from_numpy(b).T,
    "a row of a tensor": lambda b: torch.from_numpy(b)[-1],
    "torch.as_tensor": torch.as_tensor,
    "torch over DLPack": torch.from_dlpack,
    "torch over a slice over DLPack": lambda b: torch.from_dlpack(b[1:]).reshape(-1),
    "a tensor, back in NumPy": lambda b: torch.from_numpy(b).numpy()[::2],
    "storage of a tensor": lambda b: torch.from_numpy(b).untyped_storage(),
    "jax.device_put": lambda b: jax.block_until_ready(jax.device_put(b)),
    "jax.device_put of a slice": lambda b: jax.block_until_ready(jax.device_put(b[1:])),
    "jax.numpy.asarray": lambda b: jax.block_until_ready(jax.numpy.asarray(b)),
    "jax over DLPack": lambda b: jax.dlpack.from_dlpack(b),
    "jax, back in NumPy": lambda b: np.asarray(jax.block_until_ready(jax.device_put(b))),
    "tf.convert_to_tensor": tf.convert_to_tensor,
    "tf.constant": tf.constant,
    "tensorflow over DLPack": lambda b: tf.experimental.dlpack.from_dlpack(b.__dlpack__()),
    "torch to tensorflow": lambda b: tf.experimental.dlpack.from_dlpack(
        torch.utils.dlpack.to_dlpack(torch.from_numpy(b))
    ),
}


def shown(held: Any) -> np.ndarray[Any, Any]:
    """Return a copy of what is held, as it is now."""
    if isinstance(held, torch.UntypedStorage):
        held = torch.tensor(held, dtype=torch.uint8)
    return held.numpy().copy() if isinstance(held, torch.Tensor) else np.array(held)


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("name", KEEP)
def test_what_is_kept_stays(name: str, data: np.ndarray[Any, Any]) -> None:
    """Keep every third batch for three epochs: what is held is what it was, and what the data says it is."""
    ds = ArrayDataSource([data, np.arange(len(data))])
    kept = []
    for epoch in range(3):
        for i, (batch, indices) in enumerate(ds.batch_iterator(6, shuffle=1, epoch=epoch)):
            if i % 3 == 0:
                kept.append((KEEP[name](batch), indices))
            del batch
    for held, indices in kept:
        np.testing.assert_array_equal(shown(held), shown(KEEP[name](data[indices])))


@given(st.lists(st.sampled_from([None, *KEEP]), min_size=1, max_size=20), st.integers(2, 9), st.booleans())
def test_what_is_kept_stays_whatever_it_is(ways: list[str | None], size: int, in_order: bool) -> None:
    """Keep any batches in any ways, let go of some on the way: what is still held is untouched."""
    ds = CompositeDataSource(
        [ArrayDataSource([SMALL, np.arange(150)]), ArrayDataSource([LARGE, np.arange(45)], repeats=3)]
    )
    kept: list[Any] = []
    for i, batch in enumerate(ds.batch_iterator(size, None if in_order else 3)):
        way = ways[i % len(ways)]
        if way is not None and len(batch[1]) > 1:
            kept += [
                (way, KEEP[way](x), data, indices) for x, indices, data in ((*batch[:2], SMALL), (*batch[2:], LARGE))
            ]
        if i % 5 == 4:
            del kept[::3]
        del batch
    for way, held, data, indices in kept:
        np.testing.assert_array_equal(shown(held), shown(KEEP[way](data[indices])))


def test_some_of_them_do_share_memory() -> None:
    """The test would be empty if every framework copied: torch, over NumPy and DLPack, does not."""
    (batch,) = next(ArrayDataSource([LARGE]).batch_iterator(6, shuffle=1))
    for tensor in (torch.from_numpy(batch), torch.from_dlpack(batch)):
        tensor[0, 0] = -5
        assert batch[0, 0] == -5
        batch[0, 0] = 0
