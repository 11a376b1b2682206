"""Batches of sequences of like length under a budget of tokens: how much is padding, and what an epoch is.

    python examples/buckets_and_budgets.py

The text is the reference of the Python language, which ships with Python itself. Nothing is written to the disk.
"""

from __future__ import annotations

import json
from itertools import islice

import numpy as np
from reference_text import sentences

from batchup.sequences import InMemoryReader, VocabularyCollector, pack

BUDGET = 1000


def padding_by_buckets(reader: InMemoryReader) -> None:
    """Show what share of the places in batches is padding, with more and more buckets."""
    print(f"batches of at most {BUDGET} places:")
    for num_buckets in (1, 10, 50):
        ds = reader.data_source(max_tokens=BUDGET, num_buckets=num_buckets)
        sizes = [tokens.size for tokens, _ in ds.batch_iterator(batch_size=BUDGET, shuffle=1234, epoch=0)]
        padding = 1 - reader.lengths.sum() / sum(sizes)
        print(f"  {num_buckets:2} buckets: {len(sizes):4} batches, the largest of {max(sizes)}, {padding:6.2%} padding")


def epochs(reader: InMemoryReader) -> None:
    """Show that an epoch has every sequence once, and that one which was left in the middle goes on."""
    ds = reader.data_source(max_tokens=BUDGET, include_indices=True)
    for epoch in range(2):
        drawn = [index for index, _, _ in ds.batch_iterator(batch_size=64, shuffle=1234, epoch=epoch)]
        once = np.array_equal(np.sort(np.concatenate(drawn)), np.arange(len(reader)))
        print(f"epoch {epoch}: begins with {drawn[0][:5].tolist()}; each of {len(reader)} sequences once: {once}")

    first = ds.batch_iterator(batch_size=64, shuffle=1234, epoch=1)
    done = [index for index, _, _ in islice(first, 20)]
    state = json.dumps(first.state_dict())
    again = ds.batch_iterator(batch_size=64, shuffle=1234, epoch=1)
    again.load_state_dict(json.loads(state))
    done += [index for index, _, _ in again]
    same = np.array_equal(np.concatenate(done), np.concatenate(drawn))
    print(f"resumed behind batch 20, from a state of {len(state)} characters: the same epoch: {same}")


def packing(reader: InMemoryReader) -> None:
    """Show how full rows are into which several sequences are packed."""
    for max_length in (256, 512):
        packs = pack(reader, max_length, seed=1234)
        print(f"packed into {len(packs)} rows of {max_length}: {packs.fill:.2%} full")
    tokens, segment_ids, _ = next(packs.data_source().batch_iterator(batch_size=8, shuffle=1234, epoch=0))
    print(f"a batch of shape {tokens.shape}; sequences in its rows: {segment_ids.max(axis=1).tolist()}")


if __name__ == "__main__":
    corpus = sentences()
    collector = VocabularyCollector()
    for words in corpus:
        collector.add_symbols(words)
    records = InMemoryReader(collector.consolidate().encode_corpus(corpus))
    for show in (padding_by_buckets, epochs, packing):
        show(records)
        print()
