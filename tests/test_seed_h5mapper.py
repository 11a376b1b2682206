"""The examples that users of h5mapper know run as they stand, but for a table of slips and stand-ins."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batchup import typed_files as h5m

from .images import image_folder

PAGE = (Path(__file__).parent / "data" / "h5mapper_0_3_examples.md").read_text()
BLOCKS = re.findall(r"```py3\n(.*?)```", PAGE, re.DOTALL)

REPLACED = [
    ("import h5mapper as h5m", "from batchup import typed_files as h5m"),
    # what a console shows: the last value of each block is kept as `seen`
    (r'>> exp.logs["train"]', 'also = exp.logs["train"]'),
    (">> ", "seen = "),
    (re.compile(r"^Out: .*$", re.MULTILINE), ""),
    # slips: a body that is only announced, four dots, names that are not there
    ("        return data\n", "        return np.load(source)\n"),
    ("        # ...\n", "        return self.my_extraction_param, len(data)\n"),
    ("Data.create(....)", 'Data.create("data.h5", special)'),
]


def code_of(number: int) -> str:
    code = BLOCKS[number]
    for old, new in REPLACED:
        code = re.sub(old, new, code) if isinstance(old, re.Pattern) else code.replace(old, new)
    return code


def run(number: int, names: dict[str, Any]) -> dict[str, Any]:
    exec(code_of(number), names)
    return names


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a test a folder of its own, in which it is."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def names(here: Path) -> dict[str, Any]:
    """Return what the page takes for granted: two images of planes, and losses."""
    image_folder(here, ["planes/01.jpeg", "planes/02.jpeg"])
    return {"np": np, "losses_array": np.linspace(1, 0, 10_000), "__name__": "example"}


def test_the_page_is_whole() -> None:
    """Each block is one that the tests run; two of them need PyTorch and are run with it."""
    assert len(BLOCKS) == 8


def test_create_add_get(names: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    """The experiment is declared, created from images, added to, and read in the three ways."""
    run(0, names)
    run(1, names)
    exp = names["exp"]
    assert exp.index.names == ["planes/01.jpeg", "planes/02.jpeg", "train"]
    run(2, names)
    assert np.array_equal(names["seen"]["loss"], names["losses_array"])
    assert np.array_equal(names["also"]["loss"], names["losses_array"])
    assert run(3, names)["seen"] == (32, 32)
    assert run(4, names)["seen"].tolist() == [0, 0]
    exp.info()
    shown = capsys.readouterr().out
    assert re.search(r"images/ +\(32, 32\) +(\(32, 32\)|\.\.\.) +None", shown)
    assert re.search(r"loss/ +None +(None|\.\.\.) +\(10000,\)", shown)


def test_groups_take_ids_only(names: dict[str, Any]) -> None:
    """A group is indexed by ids; whatever else comes is a TypeError; only datasets have refs."""
    run(1, run(0, names))
    exp = names["exp"]
    for item in (0, slice(3), exp.data.images.refs[0]):
        with pytest.raises(TypeError, match="data is a group, it takes the id"):
            exp.data[item]
    with pytest.raises(TypeError, match="refs"):
        exp.data.refs[0]


def test_set_mirrors_get(names: dict[str, Any]) -> None:
    """What is read in a way is written in the same way."""
    run(1, run(0, names))
    exp = names["exp"]
    exp.logs.set("train", {"loss": names["losses_array"] * 2})
    exp.data["planes/01.jpeg"] = {"labels": np.array([5])}
    exp.data.images[exp.data.images.refs[1]] = 7
    exp.data.labels[1:2] = 8
    assert exp.logs.loss[:3].tolist() == (names["losses_array"][:3] * 2).tolist()
    assert exp.data.labels[:].tolist() == [5, 8]
    assert set(exp.data.images.get("planes/02.jpeg").ravel().tolist()) == {7}


def test_a_feature_of_ones_own(names: dict[str, Any], here: Path) -> None:
    """Only matching sources are loaded, as they are said to be stored; parameters are attributes, methods are there."""
    data = np.arange(10 * 350.0).reshape(10, 350)
    for number in range(3):
        with open(here / f"{number}.special", "wb") as file:
            np.save(file, data + number)
    (here / "other.txt").write_text("not taken")
    names["special"] = ["0.special", "other.txt", "1.special", "2.special"]
    run(5, names)
    file = names["f"]
    assert (file.feat.compression, file.feat.chunks) == ("lzf", (1, 350))
    assert file.feat.attrs["p"] == 47
    assert file.feat.plot(names["batch"]) == (47, 4)
    assert np.array_equal(file.feat[4:8], data[4:8] ** 2)
    assert np.array_equal(file.feat.get("1.special"), data + 1)
    assert file.feat.sources.tolist() == ["0.special", "1.special", "2.special"]


def test_shared_arguments_stay_apart(here: Path) -> None:
    """What is stored for one feature does not change another one of the class."""
    plain, packed = h5m.Array(), h5m.Array(compression="gzip")
    file = h5m.typedfile("Two", {"plain": plain, "packed": packed})("a.h5", "w")
    file.add("x", {"plain": np.zeros(1000), "packed": np.zeros(1000)})
    assert (file.plain.compression, file.packed.compression) == (None, "gzip")
    assert (dict(h5m.Array.__ds_kwargs__), dict(plain.__ds_kwargs__)) == ({}, {})
