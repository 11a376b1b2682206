"""Keep several arrays for each sequence: tokens, what is known of each of them, and a label for the whole.

    python examples/fields_of_a_record.py [FOLDER]

The text is the reference of the Python language, which ships with Python itself. The file goes into FOLDER, or into a
temporary folder.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
from reference_text import sentences

from batchup.sequences import FileRecordReader, FileRecordWriter, Vocabulary, VocabularyCollector

FIELDS = ["tokens", "capital", "letters", "code"]
FILL = {"tokens": 0, "capital": -1, "letters": 0, "code": 0}  # what padding is, for each field


def record(words: list[str], vocab: Vocabulary) -> dict[str, np.ndarray]:
    """Return what is kept of a sentence: three arrays with an element per word, and one with a single element."""
    lower = [word.lower() for word in words]
    return {
        "tokens": np.array(vocab.encode(lower, use_unk=True, add_eos=False), np.int32),
        "capital": np.array([word[0].isupper() for word in words], np.int8),
        "letters": np.array([len(word) for word in words], np.uint8),
        "code": np.array(["def" in lower or "class" in lower], np.int8),
    }


def main(folder: Path) -> None:
    """Write the records, and read them."""
    corpus = sentences()
    collector = VocabularyCollector()
    for words in corpus:
        collector.add_symbols(word.lower() for word in words)
    vocab = collector.consolidate()

    with FileRecordWriter(folder / "words.records", FIELDS, sequence_field="tokens") as writer:
        writer.extend(record(words, vocab) for words in corpus)
    print(f"wrote {writer.next_index:,} records with the fields {', '.join(writer.fields)}")
    print("capitals in the text:", sum(word[0].isupper() for words in corpus for word in words))

    with FileRecordReader(folder / "words.records") as reader:
        ds = reader.data_source(max_tokens=2000, value=FILL, beside="mask")
        letters = capitals = words_seen = 0
        for batch in ds.batch_iterator(batch_size=64, shuffle=1234, epoch=0):
            letters += int(batch["letters"][batch["mask"]].sum())
            capitals += int((batch["capital"] == 1).sum())
            words_seen += int(batch["mask"].sum())
        print("capitals in batches: ", capitals)
        print(f"{words_seen:,} words, of {letters / words_seen:.2f} letters in the mean\n")

        first = next(ds.batch_iterator(batch_size=3, shuffle=1234, epoch=0))
        print("a batch:", {name: array.shape for name, array in first.items()})
        for name in FIELDS:
            print(f"{name:8}", first[name][0].tolist())
        print(f"{'words':8}", vocab.decode(first["tokens"][0], muted_ids=[vocab.pad_id]))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        main(Path(sys.argv[1] if len(sys.argv) > 1 else temporary))
