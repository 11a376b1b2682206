"""Store DNA in files of a bounded number of sequences, and read them as one, in padded one-hot batches.

    python examples/dna_in_shards.py [FASTA [FOLDER]]

Without a FASTA file, a random genome is made from a seed. The shards go into FOLDER, or into a temporary folder.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import numpy as np

from batchup.sequences import FileRecordReader, FileRecordWriter, ShardedWriter

ALPHABET = "-ACGTN"  # the first one is what fills up batches
CODES = np.full(256, ALPHABET.index("N"), np.uint8)
CODES[np.frombuffer(b"ACGTacgt", np.uint8)] = [1, 2, 3, 4] * 2
LONGEST = 5000  # what is longer is cut into pieces
PER_SHARD = 500


def fasta(path: str) -> Iterator[bytes]:
    """Yield the sequences of a FASTA file, as letters."""
    with open(path, "rb") as file:
        for is_name, lines in groupby(file, lambda line: line.startswith(b">")):
            if not is_name:
                yield b"".join(map(bytes.strip, lines))


def random_genome(sequences: int = 2200, seed: int = 1234) -> Iterator[bytes]:
    """Yield sequences of random letters, most of them short and a few long."""
    rng = np.random.default_rng(seed)
    for length in rng.lognormal(6, 0.8, sequences).astype(int):
        yield rng.choice(np.frombuffer(b"ACGT", np.uint8), length, p=[0.3, 0.2, 0.2, 0.3]).tobytes()


def one_hot(bases: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Turn codes into vectors, with a place for each of A, C, G, T; N and padding are zeros."""
    return np.eye(len(ALPHABET), dtype=np.float32)[bases][..., 1:5], lengths


def main(genome: Iterator[bytes], folder: Path) -> None:
    """Write the shards, and read them."""
    with ShardedWriter(FileRecordWriter, str(folder / "dna_{:03d}.records"), PER_SHARD) as writer:
        writer.add_metadata({"alphabet": ALPHABET})
        for letters in genome:
            codes = CODES[np.frombuffer(letters, np.uint8)]
            writer.extend(codes[start : start + LONGEST] for start in range(0, len(codes), LONGEST))
    print(f"wrote {writer.next_index:,} sequences to {len(writer.output_files)} shards, with a byte for each base")

    with FileRecordReader(writer.output_files) as reader:
        print(f"read {len(reader):,} sequences of {reader.lengths.min():,} to {reader.lengths.max():,} bases")
        batches = reader.data_source(max_tokens=40_000).map(one_hot)
        counts, places = np.zeros(4), 0
        for bases, _ in batches.batch_iterator(batch_size=256, shuffle=1234, epoch=0):
            counts += bases.sum(axis=(0, 1))
            places += bases.shape[0] * bases.shape[1]
        padding = 1 - reader.lengths.sum() / places
        print(f"the last batch has shape {bases.shape}; {padding:.1%} of all batches is padding")
        print("shares:", ", ".join(f"{base} {n / counts.sum():.1%}" for base, n in zip("ACGT", counts, strict=True)))


if __name__ == "__main__":
    if len(sys.argv) == 1:
        print("no FASTA file is given: this is a random genome, made from a seed")
    with tempfile.TemporaryDirectory() as temporary:
        main(fasta(sys.argv[1]) if len(sys.argv) > 1 else random_genome(), Path([temporary, *sys.argv[2:]][-1]))
