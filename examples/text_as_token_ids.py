"""Save text as token ids, with the vocabulary in the same file, then load it back and read it.

    python examples/text_as_token_ids.py [FOLDER]

The text is the reference of the Python language, which ships with Python itself. The file goes into FOLDER, or into a
temporary folder.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from reference_text import sentences

from batchup.sequences import FileRecordReader, FileRecordWriter, Vocabulary, VocabularyCollector


def save(path: Path, corpus: list[list[str]]) -> None:
    """Write a record of token ids for each sentence."""
    collector = VocabularyCollector()
    for words in corpus:
        collector.add_symbols(words)
    vocab = collector.consolidate(max_num_symbols=2000)
    with FileRecordWriter(path) as writer:
        writer.extend(vocab.encode_corpus(corpus, use_unk=True))
        writer.add_metadata({"vocab": vocab.to_json()})
    print(f"wrote {len(corpus):,} sentences and {len(vocab):,} of {len(collector):,} symbols to {path.name}")


def load(path: Path, corpus: list[list[str]]) -> None:
    """Read records one by one, and in batches."""
    with FileRecordReader(path) as reader:
        vocab = Vocabulary.from_json(reader.metadata("vocab"))
        print(f"read {reader.num_records():,} records, the longest of {reader.lengths.max()} tokens\n")

        ids = reader.retrieve(100)
        print("record 100:", ids.tolist())
        print("means:     ", " ".join(vocab.decode(ids, muted_ids=[vocab.eos_id])))
        print("it was:    ", " ".join(corpus[100]), "\n")

        ds = reader.data_source(max_tokens=1000, value=vocab.pad_id)
        tokens, lengths = next(ds.batch_iterator(batch_size=4, shuffle=1234, epoch=0))
        print(f"a batch of shape {tokens.shape}, with the lengths {lengths.tolist()}:")
        for sentence in vocab.decode_corpus(tokens, muted_ids=[vocab.eos_id, vocab.pad_id]):
            print("   ", " ".join(sentence))


def main(folder: Path) -> None:
    """Save the text, and load it."""
    corpus = sentences()
    save(folder / "reference.records", corpus)
    load(folder / "reference.records", corpus)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        main(Path(sys.argv[1] if len(sys.argv) > 1 else temporary))
