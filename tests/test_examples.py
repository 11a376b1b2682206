"""The scripts in examples/: each runs without a warning, and what it prints is true."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from batchup import Dataset
from batchup.sequences import FileRecordReader, Vocabulary

EXAMPLES = Path(__file__).parent.parent / "examples"
# a link to the demo, what others import, and those that are in frameworks/
ELSEWHERE = {"digits", "reference_text", "cluster_job", "sequences_with_torch", "typed_dataset_and_logs"}


def run(name: str, *arguments: str, cwd: Path) -> str:
    """Run an example in a folder to its end; return what it printed."""
    command = [sys.executable, "-W", "error", str(EXAMPLES / f"{name}.py"), *arguments]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def number(pattern: str, printed: str) -> float:
    """Return the number that was printed where a pattern has its group."""
    found = re.search(pattern, printed)
    assert found is not None, printed
    return float(found[1].replace(",", ""))


def test_text_as_token_ids(tmp_path: Path) -> None:
    """The record that was decoded is the sentence, but for rare words; the file holds the vocabulary."""
    printed = run("text_as_token_ids", str(tmp_path), cwd=tmp_path)
    was = re.search(r"it was: +(.*?) *\n", printed)
    means = re.search(r"means: +(.*?) *\n", printed)
    assert was is not None
    assert means is not None
    pairs = list(zip(was[1].split(), means[1].split(), strict=True))
    assert len(pairs) > 2
    assert all(read in (word, "<unk>") for word, read in pairs)
    with FileRecordReader(tmp_path / "reference.records", verify=True) as reader:
        assert reader.num_records() == number(r"wrote ([\d,]+) sentences", printed)
        vocab = Vocabulary.from_json(str(reader.metadata("vocab")))
        words = vocab.decode(reader.retrieve(100), muted_ids=[vocab.eos_id])
    assert words == means[1].split()


def test_dna_in_shards(tmp_path: Path) -> None:
    """A random genome is told to be one, has the shares that it is made with, and is spread over shards."""
    printed = run("dna_in_shards", cwd=tmp_path)
    assert "random genome" in printed
    assert list(tmp_path.iterdir()) == []
    written, shards = number(r"wrote ([\d,]+) sequences", printed), number(r"to (\d+) shards", printed)
    assert shards == -(-written // 500)
    assert number(r"read ([\d,]+) sequences", printed) == written
    assert number(r"([\d.]+)% of all batches is padding", printed) < 10
    shares = [number(rf"{base} ([\d.]+)%", printed) for base in "ACGT"]
    assert np.allclose(shares, [30, 20, 20, 30], atol=0.5)


def test_dna_from_a_file(tmp_path: Path) -> None:
    """A FASTA file with lower case, unknown bases, and sequences over several lines or longer than a record."""
    (tmp_path / "some.fasta").write_text(f">one\nACG\nTNN\n>two\nacgg\n>three\n{'T' * 6000}\n", encoding="ascii")
    printed = run("dna_in_shards", "some.fasta", str(tmp_path), cwd=tmp_path)
    assert "random" not in printed
    with FileRecordReader(tmp_path / "dna_001.records") as reader:
        assert reader.lengths.tolist() == [6, 4, 5000, 1000]
        assert reader.gather([0, 1]).tolist() == [[1, 2, 3, 4, 5, 5], [1, 2, 3, 3]]
        assert reader.metadata("alphabet") == "-ACGTN"
    assert number(r"T ([\d.]+)%", printed) > 99


def test_fields_of_a_record(tmp_path: Path) -> None:
    """What is counted in padded batches is what is in the text, and the fields of a sequence belong together."""
    printed = run("fields_of_a_record", str(tmp_path), cwd=tmp_path)
    capitals = number(r"capitals in the text: +(\d+)", printed)
    assert 0 < capitals == number(r"capitals in batches: +(\d+)", printed)
    with FileRecordReader(tmp_path / "words.records", verify=True) as reader:
        columns = reader.columns
        assert np.array_equal(columns["letters"].lengths, reader.lengths)
        assert (columns["code"].lengths == 1).all()
        letters = columns["letters"].gather(slice(0, len(reader))).values
    assert number(r"words, of ([\d.]+) letters", printed) == pytest.approx(letters.mean(), abs=0.006)


def test_buckets_and_budgets(tmp_path: Path) -> None:
    """More buckets leave less padding, no batch is over the budget, epochs are whole, and rows are full."""
    printed = run("buckets_and_budgets", cwd=tmp_path)
    padding = {n: number(rf"{n} buckets: .* ([\d.]+)% padding", printed) for n in (1, 10, 50)}
    assert padding[1] > 2 * padding[10] > 4 * padding[50]
    assert all(int(size) <= 1000 for size in re.findall(r"the largest of (\d+)", printed))
    assert len(re.findall(r"sequences once: True", printed)) == 2
    assert "the same epoch: True" in printed
    assert min(float(share) for share in re.findall(r"([\d.]+)% full", printed)) > 98
    assert list(tmp_path.iterdir()) == []


def test_lazy_pipeline(tmp_path: Path) -> None:
    """The model learns, the files hold all digits, and a pass that was left comes to the same weights."""
    printed = run("lazy_pipeline", str(tmp_path), cwd=tmp_path)
    losses = [float(loss) for loss in re.findall(r"loss ([\d.]+)", printed)]
    assert len(losses) == 5
    assert losses == sorted(losses, reverse=True)
    assert float(re.findall(r"accuracy ([\d.]+)%", printed)[-1]) > 85
    assert "25 batches were left" in printed
    assert "the same weights: True" in printed
    for pattern, count in (("train-*.tfrecord", 1437), ("test.tfrecord", 360)):
        records = Dataset.read.tfrecord(tmp_path / pattern, keys=["image", "label"], compression="gzip").list()
        assert len(records) == count
        assert {int(record["label"][0]) for record in records} == set(range(10))


def test_every_example_is_tested() -> None:
    """No script escapes the tests."""
    tested = {name.removeprefix("test_") for name in globals()}
    assert {path.stem for path in EXAMPLES.glob("*.py")} - ELSEWHERE <= tested


def test_own_dataset(tmp_path: Path) -> None:
    """The file is converted once, all of it, and what is learned from it is some good; another run only opens it."""
    printed = run("own_dataset", str(tmp_path), cwd=tmp_path)
    assert printed.count("converting, once") == 1
    assert number(r"([\d,]+) images of \(1, 8, 8\), float32, from 0\.0 to 1\.0", printed) == 1797
    assert number(r"([\d.]+)% of 359 others", printed) > 90
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["digits"]
    assert "converting" not in run("own_dataset", str(tmp_path), cwd=tmp_path)
