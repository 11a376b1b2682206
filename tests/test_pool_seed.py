"""The parallel examples that users of batchup 0.2 know run as they stand, in a session and as an unguarded script."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .pools import (
    end_of_patience,  # noqa: F401
    leaving_nothing,
    run_program,
)
from .test_seed_batchup import BLOCKS, REPLACED, code_of

FROM_DISK = next(number for number, block in enumerate(BLOCKS) if "class LoadImagesFromDisk" in block)

THREADS = """
from batchup import work_pool

# Build a pool of 4 worker threads:
th_pool = work_pool.WorkerThreadPool(processes=4)

# Construct a data source that prepares mini-batches in the background
# It wraps the existing data source `ds` and will try to keep a buffer of 32
# mini-batches full to eliminate latency:
par_ds = th_pool.parallel_data_source(ds, batch_buffer_size=32)

# As soon as we create an iterator, it will start filling its buffer; lets create an
# iterator right now to get it going in the background:
par_iter = par_ds.batch_iterator(batch_size=64, shuffle=np.random.RandomState(12345))

# Do some other initialisation stuff that may take a while...

# By now, with any luck, some batches will be ready to retrieve
                
for (batch_X, batch_y) in par_iter:
    # Process batches here...
"""  # noqa: W293

PROCESSES = """
# Build a pool of 4 worker processes:
proc_pool = work_pool.WorkerProcessPool(processes=4)

# Construct a data source that prepares mini-batches in the background
# It wraps the existing non-thread-safe data source `ds` and
# will try to keep a buffer of 32 mini-batches full to eliminate latency:
par_ds = proc_pool.parallel_data_source(ds, batch_buffer_size=32)

# ... use `par_ds` the same way as before ...
"""

AS_BEFORE = THREADS[THREADS.index("par_iter =") :]
NOTE = "seen.append((batch_X.copy(), batch_y.copy()))"

SCRIPT = """
import numpy as np
from pathlib import Path

with open("ran.txt", "a") as runs:
    runs.write("once\\n")
images, passes = Path("images"), []

seen = []
{from_disk}
passes.append(seen)

seen = []
{threads}
passes.append(seen)

seen = []
{processes}
passes.append(seen)

assert [len(batches) for batches in passes] == [4, 4, 4]
for batches in passes[1:]:
    for (X, y), (serial_X, serial_y) in zip(batches, passes[0]):
        assert X.dtype == serial_X.dtype and y.dtype == serial_y.dtype == np.int32
        assert np.array_equal(X, serial_X) and np.array_equal(y, serial_y)
print("fine")
"""


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Return a folder with pictures of cats and dogs in it."""
    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.RandomState(1)
    for i in range(200):
        name = f"{'dog' if i % 3 else 'cat'}{i:03}.npy"
        np.save(folder / name, rng.randint(0, 256, (8, 9, 3), dtype=np.uint8))
    return folder


def code(page: str) -> str:
    """Return an example with what never ran replaced: loops get a body, which notes the batch."""
    page = page.replace("# ... use `par_ds` the same way as before ...", AS_BEFORE)
    return page.replace("# Process batches here...", NOTE)


def from_disk() -> str:
    """Return the example that the parallel ones build on."""
    note, replacement = REPLACED[1]
    assert note == "# Process batches here..."
    return code_of(FROM_DISK).replace(replacement, NOTE)


def test_the_examples_in_a_session(images: Path) -> None:
    """One example after the other, as in a notebook: threads and processes give the batches of the plain loop."""
    names: dict[str, Any] = {"__name__": "__main__", "np": np, "images": images}
    passes = []
    with leaving_nothing():
        try:
            for page in (from_disk(), code(THREADS), code(PROCESSES)):
                names["seen"] = []
                exec(compile(page, "<a cell of a notebook>", "exec"), names)
                passes.append(names["seen"])
        finally:
            for name in ("th_pool", "proc_pool"):
                if name in names:
                    names[name].close()
            names.clear()  # the last batch
    plain, *parallel = passes
    assert [len(y) for _, y in plain] == [64, 64, 64, 8]
    assert sum(int(y.sum()) for _, y in plain) == sum(1 for i in range(200) if i % 3)
    for batches in parallel:
        assert len(batches) == len(plain)
        for (X, y), (plain_X, plain_y) in zip(batches, plain, strict=True):
            assert X.dtype == np.uint8
            assert y.dtype == np.int32
            np.testing.assert_array_equal(X, plain_X)
            np.testing.assert_array_equal(y, plain_y)


def test_the_examples_in_a_session_that_forgets_them(images: Path) -> None:
    """Whoever never closes the pools, as the examples do not, leaves nothing either."""
    with leaving_nothing():
        names: dict[str, Any] = {"__name__": "__main__", "np": np, "images": images, "seen": []}
        for page in (from_disk(), code(THREADS), code(PROCESSES)):
            exec(compile(page, "<a cell of a notebook>", "exec"), names)
        assert len(names["seen"]) == 12
        names.clear()


def test_the_examples_as_a_script(images: Path) -> None:
    """A script without a guard does the same, ends by itself, and is not run again by the workers."""
    script = images.parent / "script.py"
    script.write_text(SCRIPT.format(from_disk=from_disk(), threads=code(THREADS), processes=code(PROCESSES)))
    assert run_program([script.name], images.parent) == "fine\n"
    assert (images.parent / "ran.txt").read_text() == "once\n"
