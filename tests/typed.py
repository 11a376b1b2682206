"""What the tests of typed files share: a class of files and samples for it, what is in a file by plain h5py."""

from __future__ import annotations

import builtins
import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from batchup import typed_files as h5m

SAMPLES = ("one", "two", "three")


class Sample(h5m.TypedFile):
    """Features of all kinds."""

    x = h5m.Array()
    pair = h5m.Array()
    text = h5m.String()
    deep = h5m.Group(a=h5m.Array(), more=h5m.Group(b=h5m.Array()))
    shaped = h5m.VShape(h5m.Array())


def sample(number: int) -> dict[str, Any]:
    """Return what a source has of the features; the values and the lengths tell which source it is."""
    return {
        "x": np.arange(number % 3 + 1, dtype=np.int32) + 10 * number,
        "pair": np.full((2, 2), number, np.float32),
        "text": [f"text {number}"],
        "deep": {"a": number, "more": {"b": np.full(number % 2 + 1, number, np.int64)}},
        "shaped": np.full((number % 2 + 1, number % 3), number, np.uint8),
    }


def made(path: Any, **options: Any) -> Path:
    """Write a file with some sources."""
    with Sample(path, "w", **options) as file:
        for number, source in enumerate(SAMPLES):
            file.add(source, sample(number))
    return Path(path)


def as_plain(data: Any) -> Any:
    """Return data with lists for arrays, so that `==` compares it."""
    if isinstance(data, dict):
        return {name: as_plain(part) for name, part in data.items()}
    return data.tolist() if isinstance(data, (np.ndarray, np.generic)) else data


def region(dataset: Any, reference: Any) -> Any:
    """Return the first row of a region and the one behind its last, by plain h5py; None if it is null."""
    if not reference:
        return None
    space = h5py.h5r.get_region(reference, dataset.id)
    if not space.get_select_npoints():
        return (0, 0)
    low, high = space.get_select_bounds()
    return low[0], high[0] + 1


def content(path: Any) -> dict[str, Any]:
    """Return all groups, datasets and attributes of a file, by plain h5py."""
    found: dict[str, Any] = {}

    def note(name: str, node: Any) -> None:
        for key, value in node.attrs.items():
            found[f"{name}@{key}"] = as_plain(value)
        if isinstance(node, h5py.Group):
            found[name] = "group"
        elif h5py.check_ref_dtype(node.dtype) is h5py.RegionReference:
            found[name] = [region(node.parent["__arr__"], reference) for reference in node[:]]
        else:
            found[name] = (str(node.dtype), node.shape, as_plain(node[()]))

    with h5py.File(path, "r") as file:
        file.visititems(note)
    return found


def stored(path: Any) -> dict[str, dict[str, Any]]:
    """Return the array of each source in each feature, by plain h5py; None where there is none."""
    with h5py.File(path, "r") as file:
        ids = [text.decode("utf-8", "surrogateescape") for text in file["__src__/id"][:]]
        keys = [text.decode() for text in file["__src__/ds_keys"][:]]
        found: dict[str, dict[str, Any]] = {source: {} for source in ids}
        for key in keys:
            dataset, refs = file[f"{key}/__arr__"], file[f"{key}/__ref__"]
            for source, reference in zip(ids, refs[:], strict=True):
                rows = region(dataset, reference)
                found[source][key] = None if rows is None else as_plain(dataset[slice(*rows)])
    return found


def beside(path: Any) -> list[str]:
    """Return what lies in the folder of a file, but for it."""
    return sorted(set(os.listdir(Path(path).parent)) - {Path(path).name})


class Noting(h5m.Feature):
    """Loads texts such as ``'7'`` as arrays that tell the number; notes each call in a file.

    Parameters
    ----------
    log : str
        The file.
    fails : dict of str to str
        What happens at some sources: ``'exit'`` (of the process), ``'exit once'``, ``'raise'``, ``'raise once'``, or
        the name of an error.
    """

    def __init__(self, log: Any, fails: Any = None) -> None:
        self.log = str(log)
        self.fails = dict(fails or {})

    def load(self, source: str) -> Any:
        with open(self.log, "a") as file:
            file.write(f"{source}\n")
        number = int(Path(source).stem)
        self.fail(self.fails.get(source))
        return np.arange(number % 4 + 1) + 100 * number

    def fail(self, how: str | None) -> None:
        """Do not load, unless that was to happen once and has happened."""
        if how is None or (how.endswith("once") and os.path.exists(f"{self.log}.done")):
            return
        Path(f"{self.log}.done").touch()
        if how.startswith("exit"):
            os._exit(3)
        raise getattr(builtins, how, LookupError)("nothing under this number")


def create(cls: Any, path: Any, sources: Any, *arguments: Any, **options: Any) -> Any:
    """Create a file without a bar, by default in this thread, and close it."""
    made_file = cls.create(path, sources, *arguments, **{"parallelism": "none", "progress": False, **options})
    made_file.close()
    return made_file


def calls(log: Any) -> list[str]:
    """Return the sources that were loaded."""
    return Path(log).read_text().split() if Path(log).exists() else []


def expected(source: str) -> list[int]:
    """Return what `Noting` loads."""
    number = int(Path(source).stem)
    return [100 * number + i for i in range(number % 4 + 1)]
