"""Train a small language model of PyTorch on sentences of different lengths.

    python examples/sequences_with_torch.py

The text is the reference of the Python language, which ships with Python itself. Nothing is written to the disk.
"""

from __future__ import annotations

from reference_text import sentences

from batchup.sequences import InMemoryReader, VocabularyCollector

try:
    import torch
    from torch import nn
    from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence
except ImportError as error:
    raise SystemExit('this example needs PyTorch: pip install "batchup[torch]"') from error

EPOCHS = 2


class LanguageModel(nn.Module):
    """Guesses each token from those before it."""

    def __init__(self, symbols: int, size: int = 64) -> None:
        super().__init__()
        self.embedding = nn.Embedding(symbols, size)
        self.memory = nn.GRU(size, size)
        self.scores = nn.Linear(size, symbols)

    def forward(self, tokens: PackedSequence) -> torch.Tensor:
        """Return a score for every symbol, behind every token."""
        hidden, _ = self.memory(tokens._replace(data=self.embedding(tokens.data)))
        return self.scores(hidden.data)


def packed(tokens: torch.Tensor, lengths: torch.Tensor) -> PackedSequence:
    """Leave out the padding of a batch."""
    return pack_padded_sequence(tokens, lengths, batch_first=True, enforce_sorted=False)


def main() -> None:
    """Train for a few epochs, and show how the loss falls."""
    torch.manual_seed(1234)
    corpus = [[word.lower() for word in sentence] for sentence in sentences()]
    collector = VocabularyCollector()
    for words in corpus:
        collector.add_symbols(words)
    vocab = collector.consolidate(max_num_symbols=1500)
    reader = InMemoryReader(vocab.encode_corpus(corpus, use_unk=True))
    ds = reader.data_source(max_tokens=1500, value=vocab.pad_id)

    model = LanguageModel(len(vocab))
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for epoch in range(EPOCHS):
        total, seen = 0.0, 0
        for batch in ds.batch_iterator(batch_size=128, shuffle=1234, epoch=epoch):
            tokens, lengths = map(torch.from_numpy, batch)
            scores = model(packed(tokens[:, :-1], lengths - 1))
            loss = nn.functional.cross_entropy(scores, packed(tokens[:, 1:], lengths - 1).data.long())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total, seen = total + loss.item() * len(scores), seen + len(scores)
        print(f"epoch {epoch}: loss {total / seen:.3f} over {seen:,} tokens")


if __name__ == "__main__":
    main()
