"""A file that h5mapper 0.3.3 wrote once is read, and added to, for ever."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batchup import typed_files as h5m

DATA = Path(__file__).parent / "data"
TOLD = json.loads((DATA / "by_h5mapper_0_3_3.json").read_text())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the name of a copy of the file."""
    copy = tmp_path / "frozen.h5"
    copy.write_bytes(gzip.decompress((DATA / "by_h5mapper_0_3_3.h5.gz").read_bytes()))
    return copy


def expected(told: Any) -> Any:
    """Return arrays for what h5mapper told."""
    if told is None or "group" not in told:
        dtype = None if told is None else object if told["dtype"] == "str" else told["dtype"]
        return None if told is None else np.array(told["values"], dtype).reshape(told["shape"])
    return {name: expected(part) for name, part in told["group"].items()}


def same(found: Any, wanted: Any) -> bool:
    """Return whether data are what h5mapper told, but for two quirks of it: empty groups, and the shape of no rows."""
    if isinstance(wanted, dict):
        wanted = {name: part for name, part in wanted.items() if not (isinstance(part, dict) and not part)}
        return (
            isinstance(found, dict) and found.keys() == wanted.keys() and all(same(found[k], wanted[k]) for k in wanted)
        )
    if wanted is None or found is None:
        return found is wanted
    if not wanted.size:
        return len(found) == 0
    return bool(found.dtype == wanted.dtype and np.array_equal(found, wanted))


class Frozen(h5m.TypedFile):
    """The one feature that needs to be declared."""

    image = h5m.VShape(h5m.Array())


def test_everything_is_read(path: Path) -> None:
    """Ids, arrays, nothing where there is nothing, and attributes are those that h5mapper tells of."""
    file = Frozen(path)
    assert file.index.names == TOLD["ids"]
    for source, features in TOLD["get"].items():
        for name, told in features.items():
            assert same(file.get_proxy(name).get(source), expected(told)), (source, name)
    for name, attrs in TOLD["attrs"].items():
        assert dict(file.attrs if name == "/" else file.get_proxy(name).attrs) == attrs
    for name, null in TOLD["null"].items():
        there = [source for source, missing in zip(TOLD["ids"], null, strict=True) if not missing]
        assert file.sources(name).tolist() == there


def test_it_is_added_to(path: Path) -> None:
    """What is added fits, what was there stays, and every feature has a reference for each id."""
    file = Frozen(path, "r+")
    file.add("new", {"x": np.ones((2, 3), np.float32), "words": ["a"], "image": np.zeros((2, 5), np.int16)})
    file.logs.add("test", {"loss": np.zeros(4, file.logs.loss.dtype)})
    assert file.image.get("new").shape == (2, 5)
    assert file.index.names == [*TOLD["ids"], "new", "test"]
    with file._contents.use() as opened:
        lengths = {name: len(opened[f"{name}/__ref__"]) for name in TOLD["ds_keys"]}
    assert set(lengths.values()) == {len(TOLD["ids"]) + 2}
    for source, features in TOLD["get"].items():
        assert same(file.x.get(source), expected(features["x"]))


def test_batches_of_it(path: Path) -> None:
    """Its arrays make batches, of different lengths and compressed ones, too."""
    file = Frozen(path)
    there = file.sources("x", "image").tolist()
    seen = []
    source = file.data_source({"x": "x", "image": "image"}, include_indices=True)
    for batch in source.batch_iterator(2, shuffle=5):
        for place, x, image in zip(batch["index"], batch["x"], batch["image"], strict=True):
            assert same(np.asarray(x), expected(TOLD["get"][there[place]]["x"]))
            assert np.array_equal(image, expected(TOLD["get"][there[place]]["image"]))
            seen.append(int(place))
    assert sorted(seen) == list(range(len(there)))
