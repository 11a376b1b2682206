"""PyTorch: padded batches of sequences by `pad_sequence` in its loader."""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
from declared import Work
from sequences import Sequences, batches_by_hand
from slices import Epoch

from contenders import Ways

torch: Any = importlib.import_module("torch")
loading: Any = importlib.import_module("torch.utils.data")


def padded(work: Work, sequences: Sequences) -> Epoch:
    """`DataLoader(tensors, batch_sampler=batches by length, collate_fn=pad_sequence)`, cut and sorted before."""
    tensors = [torch.from_numpy(sequences[number].copy()) for number in range(len(sequences))]
    plan = [batch.tolist() for batch in batches_by_hand(sequences.lengths, work.batch, np.random.default_rng(0))]

    def collate(parts: list[Any]) -> Any:
        return torch.nn.utils.rnn.pad_sequence(parts, batch_first=True)

    loader = loading.DataLoader(tensors, batch_sampler=plan, collate_fn=collate)

    def epoch() -> Iterator[Any]:
        for _ in itertools.count():
            yield from loader

    return epoch


WAYS: Ways = {"ragged": {"torch pad_sequence": padded}}
