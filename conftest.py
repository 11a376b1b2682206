"""What pytest needs to run the examples: of the docstrings, of README.md and of docs/."""

from __future__ import annotations

import gc
import os
import tempfile
from contextlib import ExitStack
from doctest import ELLIPSIS
from typing import Any

import numpy as np
import pytest
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser
from sybil.parsers.rest import DocTestParser
from sybil.sybil import SybilCollection


def pytest_collection_finish() -> None:
    """Have garbage looked for among what tests make, and not among the tests, each time."""
    gc.collect()
    gc.freeze()


_SIZES = {"train": 300, "val": 50, "test": 70, "lab": 30, "unlab": 250}


def page_data() -> dict[str, Any]:
    """Return what the pages take for granted: `np`, and a small data set under the names that they use."""
    rng = np.random.RandomState(12345)
    images = {name: rng.rand(n, 1, 8, 8).astype(np.float32) for name, n in _SIZES.items()}
    classes = {name: rng.choice(4, n, p=[0.6, 0.2, 0.15, 0.05]) for name, n in _SIZES.items()}
    return {
        "np": np,
        **{f"{name}_X": array for name, array in images.items()},
        **{f"{name}_y": array for name, array in classes.items()},
        "train_w": rng.rand(_SIZES["train"]),
    }


def standard_dataset() -> str:
    """Return a home in which MNIST lies, black all over, as if it had been fetched; it takes no room."""
    if not _homes:
        _homes.append(home := tempfile.TemporaryDirectory(prefix="batchup-home-"))
        folder = os.path.join(home.name, "data", "mnist")
        os.makedirs(folder)
        for part, count in (("train", 60_000), ("test", 10_000)):
            np.lib.format.open_memmap(f"{folder}/{part}_X_u8.npy", "w+", np.uint8, (count, 1, 28, 28))
            np.save(f"{folder}/{part}_y.npy", np.arange(count, dtype=np.int32) % 10)
        with open(os.path.join(folder, "manifest.json"), "w") as file:
            file.write('{"version": 1, "files": {}}')
    return _homes[0].name


_homes: list[tempfile.TemporaryDirectory[str]] = []  # removed when the process ends


def enter_page(namespace: dict[str, Any]) -> None:
    """Fill the namespace of a page, and go to an empty folder for the files that it writes."""
    enter_module(namespace)
    namespace.update(page_data())
    patch = pytest.MonkeyPatch()
    namespace["_leave"].callback(patch.undo)
    patch.setenv("BATCHUP_HOME", standard_dataset())
    patch.setenv("BATCHUP_OFFLINE", "1")


def enter_module(namespace: dict[str, Any]) -> None:
    """Give the docstrings of a module `np`, and an empty folder."""
    namespace["np"] = np
    namespace["_leave"] = stack = ExitStack()
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    stack.callback(os.chdir, os.getcwd())
    os.chdir(folder)


def leave(namespace: dict[str, Any]) -> None:
    """Drop what the examples made, and their folder."""
    stack = namespace.pop("_leave")
    namespace.clear()
    stack.close()


# tables, and what needs a framework and is run where all are
_NOT_HERE = ["benchmarks/*.md", *([] if os.environ.get("BATCHUP_TEST_ALL") == "1" else ["howto/run_on_a_cluster.md"])]
_markdown = [PythonCodeBlockParser(doctest_optionflags=ELLIPSIS)]
_pages: dict[str, Any] = {"setup": enter_page, "teardown": leave}

pytest_collect_file = SybilCollection(
    [
        Sybil([DocTestParser(ELLIPSIS)], path="batchup", pattern="*.py", setup=enter_module, teardown=leave),
        Sybil(_markdown, pattern="README.md", exclude="*/README.md", **_pages),
        Sybil(_markdown, path="docs", pattern="*.md", excludes=_NOT_HERE, **_pages),
    ]
).pytest()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Let pytest-xdist deal out pages whole: the examples of a page build on one another."""
    from xdist.scheduler import LoadScopeScheduling

    class PagesWhole(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file, _, place = nodeid.partition("::")
            return file if place.startswith("line:") else nodeid

    return PagesWhole(config, log) if config.getvalue("dist") == "load" else None
