"""Files travel both ways between this library and h5mapper 0.3, which runs in processes of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batchup import typed_files as h5m

from .by_h5mapper import Both, Points

SCRIPT = Path(__file__).parent / "by_h5mapper.py"


class Ours(h5m.TypedFile):
    """The features of the file that h5mapper creates."""

    points = h5m.Array()
    both = h5m.Group(length=h5m.Array(), codes=h5m.Array())


def by_h5mapper(*arguments: Any, data: Any = None) -> Any:
    """Have h5mapper do something; return what it tells."""
    command = [sys.executable, "-W", "error", str(SCRIPT), *map(str, arguments)]
    done = subprocess.run(command, input=json.dumps(data), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if done.stdout else None


def plain(data: Any) -> Any:
    """Return data in the form in which h5mapper tells of them: it has no numbers that stand alone, only arrays."""
    if data is None:
        return None
    if isinstance(data, dict):
        return {name: plain(part) for name, part in data.items()}
    array = np.atleast_1d(np.array(data, object) if isinstance(data, str) else data)
    return [str(array.dtype), list(array.shape), array.tolist()]


def as_told(file: h5m.TypedFile) -> Any:
    """Return everything in a file."""
    return {source: plain(file.get(source)) for source in file.index.names}


def test_what_h5mapper_creates(tmp_path: Path) -> None:
    """A file of h5mapper has here what it has there, and what was loaded."""
    path = tmp_path / "a.h5"
    sources = ["2", "five", "1", "3"]
    by_h5mapper("create", path, *sources)
    file = Ours(path)
    assert as_told(file) == by_h5mapper("read", path)
    for source in sources:
        wanted = Points().load(source) if source.isdigit() else None
        assert plain(file.points.get(source)) == plain(wanted)
        assert plain(file.both.get(source)) == plain(Both().load(source))
    lengths = [len(rows) for (rows,) in file.data_source(["points"]).batch_iterator(1)]
    assert lengths == [1, 1, 1]


def read_by_h5mapper(path: Path) -> Any:
    """Return what h5mapper reads, but for two habits: groups of nothing, and the shape (0, 0) for no rows."""
    told = by_h5mapper("read", path)
    if "nothing" in told:
        told["nothing"]["points"] = ["float32", [0, 3], []]
    return {source: {name: without_nothing(part) for name, part in found.items()} for source, found in told.items()}


def without_nothing(data: Any) -> Any:
    if not isinstance(data, dict):
        return data
    parts = {name: without_nothing(part) for name, part in data.items()}
    return {name: part for name, part in parts.items() if part != {}}


def filled(path: Path) -> h5m.TypedFile:
    """Write a file of many kinds of data with this library."""
    rng = np.random.default_rng(5)
    file = Ours(path, "w")
    for number in range(5):
        data = {
            "points": rng.random((number + 1, 3), np.float32),
            "both": {"length": [number], "codes": np.arange(number + 2)},
            "images": rng.integers(0, 255, (8, 4, 3), np.uint8),
            "flags": np.array([True, False]),
            "texts": [f"naïve {number}", ""],
            "deep": {"er": {"still": np.float64(number)}},
        }
        file.add(f"source {number} ü", data if number != 2 else {"texts": ["alone"]})
    file.add("train", {"logs": {"loss": np.linspace(1, 0, 20)}})
    file.add("nothing", {"points": np.zeros((0, 3), np.float32)})
    return file


def test_what_h5mapper_reads(tmp_path: Path) -> None:
    """A file of this library has there what it has here."""
    path = tmp_path / "a.h5"
    file = filled(path)
    assert read_by_h5mapper(path) == as_told(file)


def test_adding_in_turns(tmp_path: Path) -> None:
    """Each adds to what the other one has written, to all features and to one."""
    path = tmp_path / "a.h5"
    file = filled(path)
    added = {"points": plain(np.ones((2, 3), np.float32)), "flags": plain(np.array([True]))}
    by_h5mapper("add", path, "theirs", data=added)
    by_h5mapper("add", path, "valid", "logs", data={"loss": plain(np.arange(3.0))})
    file.add("ours again", {"flags": [False], "new": np.arange(4)})
    by_h5mapper("add", path, "their last", data={"new": plain(np.arange(2)), "newer": plain(np.arange(5))})
    assert file.flags.get("theirs").tolist() == [True]
    assert file.logs.get("valid")["loss"].tolist() == [0, 1, 2]
    assert file.new.get("their last").tolist() == [0, 1]
    assert read_by_h5mapper(path) == as_told(file)


@pytest.mark.parametrize("parallelism", ["none", "threads", "mp"])
def test_created_here_read_there(parallelism: str, tmp_path: Path) -> None:
    """What is created by workers here reads there as what h5mapper itself creates."""

    class OurPoints(h5m.Feature):
        __re__ = Points.__re__

        def load(self, source: str) -> Any:
            return np.arange(3 * int(source), dtype=np.float32).reshape(-1, 3)

    class OurBoth(h5m.Feature):
        def load(self, source: str) -> Any:
            return {"length": np.array([len(source)]), "codes": np.array([ord(letter) for letter in source])}

    schema = {"points": OurPoints(), "both": OurBoth()}
    sources = [str(number) for number in range(1, 30)] + ["text"]
    ours, theirs = tmp_path / "ours.h5", tmp_path / "theirs.h5"
    h5m.typedfile("Made", schema).create(ours, sources, n_workers=2, parallelism=parallelism, progress=False).close()
    by_h5mapper("create", theirs, *sources)
    assert by_h5mapper("read", ours) == by_h5mapper("read", theirs)
