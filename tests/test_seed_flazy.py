"""The examples that users of Flazy know run as they stand, but for the import; two of them need a framework."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batchup import Dataset

PAGE = (Path(__file__).parent / "data" / "flazy_examples.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
AUDIO = np.array([3.8138387e-06, -3.8721851e-06, 3.9331076e-06, *[0.0] * 63_994, -3.6526076e-06, 3.7041993e-06,
                  -3.7578957e-06], np.float32)  # fmt: skip


def code_of(number: int) -> str:
    return BLOCKS[number].replace("from flazy import", "from batchup import")


def expected(number: int) -> list[str]:
    """Return the lines that a block says it prints."""
    _, _, shown = BLOCKS[number].partition("# output:\n")
    return re.findall(r"^# +(.*)$", shown, re.MULTILINE)


@pytest.fixture
def names() -> dict[str, Any]:
    """Return what the page takes for granted once it has imported it."""
    return {"np": np, "Dataset": Dataset}


def printed(number: int, names: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Run a block; return the lines that it printed."""
    exec(code_of(number), names)
    return capsys.readouterr().out.splitlines()


def test_the_page_is_whole() -> None:
    """Each block is one that the tests run: eight here, the last two with Keras and TensorFlow."""
    assert len(BLOCKS) == 10
    assert ["fit_generator" in block or "tensorflow" in block for block in BLOCKS] == [False] * 8 + [True] * 2


def test_foreach(capsys: pytest.CaptureFixture[str]) -> None:
    """The numbers 0-9; the import is part of the block."""
    assert printed(0, {}, capsys) == [str(number) for number in range(10)]


def test_filter(names: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    """The numbers that the comment in the block tells."""
    (told,) = re.findall(r"# prints (.*)", BLOCKS[1])
    assert printed(1, names, capsys) == told.split(", ") == ["1", "3", "5", "7", "9"]


def test_sum(names: dict[str, Any]) -> None:
    """A dataset can be used like any collection."""
    assert eval(code_of(2), names) == 55


def test_tuples(names: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    """Of several lists, items are tuples; the block imports NumPy."""
    del names["np"]
    assert printed(3, names, capsys) == expected(3) == ["(array([1, 2, 3]), 0)", "(array([4, 5, 6]), 1)"]


def test_dicts(names: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    """Of keywords, items are dicts."""
    assert printed(4, names, capsys) == expected(4)
    assert len(expected(4)) == 2


def test_tfrecord(
    names: dict[str, Any], capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record is read from a file that has its numbers and others; NumPy has its own ways to break the lines."""
    monkeypatch.chdir(tmp_path)
    items = [{"pitch": pitch, "audio": AUDIO, "note": "x"} for pitch in (100, 101)]
    Dataset(items).write.tfrecord("nsynth-test.tfrecord", compression="gzip")
    shown = re.sub(r" shape=\(64000,\),", "", " ".join(printed(5, names, capsys)))
    told = " ".join(expected(5))
    if np.dtype(np.int64) == np.dtype(int):  # NumPy leaves out the dtype where it is the usual one
        told = told.replace(", dtype=int64", "")
    assert re.sub(r"\s", "", shown) == re.sub(r"\s", "", told)
    first = names["data"].first()
    assert np.array_equal(first["audio"], AUDIO)
    assert first["audio"].dtype == np.float32
    assert first["pitch"].dtype == np.int64


def test_batch(names: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    """The batches are those that are shown, and one more: the last items, which Flazy dropped."""
    last = "{'a': array([8., 9.], dtype=float32), 'b': array([18., 19.], dtype=float32)}"
    assert printed(6, names, capsys) == [*expected(6), last]
    assert len(expected(6)) == 2
    names["data"].batch(4, drop_last=True).foreach(print)
    assert capsys.readouterr().out.splitlines() == expected(6)


def test_list_and_collect(names: dict[str, Any]) -> None:
    """All items at once, as a list of dicts, and as a dict of arrays."""
    definition, listed, collected = code_of(7).splitlines()
    exec(definition, names)
    assert eval(listed, names) == [{"a": number, "b": number + 10} for number in range(10)]
    found = eval(collected, names)
    assert list(found) == ["a", "b"]
    assert np.array_equal(found["a"], np.arange(10))
    assert np.array_equal(found["b"], np.arange(10, 20))
    assert found["a"].dtype.kind == "i"
