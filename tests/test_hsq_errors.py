"""What goes wrong with .hsq files is said: what was wanted, what came, what to do; and what was whole is kept."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batchup import hypersequence as hs
from batchup.errors import BatchUpError, FileBusyError, FileFormatError, InvalidTypeError

from .hsq import ROOT, Arrays, beside, given_up, numbered, of, opens_with, write

GOOD = np.zeros((2,), np.int32), np.int64(0)

# what a row must not be, after rows of an int32 pair and an int64: the arguments, and what is said
BAD_ROWS: dict[str, tuple[Any, Any, str]] = {
    "shape": (np.zeros(3, np.int32), np.int64(0), r"input 0 must be int32 of shape \(2,\), got int32 of shape \(3,\)"),
    "dimensions": (np.zeros((1, 2), np.int32), np.int64(0), r"input 0 .*shape \(2,\).*shape \(1, 2\)"),
    "scalar": (np.int32(0), np.int64(0), r"input 0 .*shape \(2,\).*shape \(\)"),
    "dtype": (np.zeros(2, np.int64), np.int64(0), r"input 0 must be int32 .*got int64"),
    "byte order": (np.zeros(2, ">i4"), np.int64(0), r"input 0 must be int32 .*got >i4"),
    "float": (np.zeros(2), np.int64(0), r"input 0 must be int32 .*got float64"),
    "output": (np.zeros(2, np.int32), np.int8(0), r"output 0 must be int64 .*got int8"),
    "output's shape": (np.zeros(2, np.int32), np.zeros(1, np.int64), r"output 0 must be int64 of shape \(\)"),
    "no output": (np.zeros(2, np.int32), (), r"expected 1 inputs and 1 outputs, got 1 and 0"),
    "two outputs": (np.zeros(2, np.int32), (1, 2), r"expected 1 inputs and 1 outputs, got 1 and 2"),
    "two inputs": ((np.zeros(2, np.int32), np.int64(0)), (), r"expected 1 inputs and 1 outputs, got 2 and 0"),
    "no input": ((), (np.zeros(2, np.int32), np.int64(0)), r"expected 1 inputs and 1 outputs, got 0 and 2"),
    "text": ("text", np.int64(0), r"input 0 must be int32 .*got <U4"),
    "objects": (np.array([None, 1]), np.int64(0), r"input 0 must be int32 .*got object"),
}


@pytest.mark.parametrize("done", [1, 3, 4, 6])
@pytest.mark.parametrize("name", BAD_ROWS)
def test_rows_of_another_kind(name: str, done: int, tmp_path: Path) -> None:
    """A row that differs is named by its number and left out as a whole, and writing goes on."""
    inputs, outputs, said = BAD_ROWS[name]
    arrays = numbered(9)
    with hs.HyperSequenceWriter(tmp_path / "a.hsq", 4) as writer:
        for i in range(done):
            writer.append(*map(of, arrays.rows(i)))
        with pytest.raises(ValueError, match=rf"row {done}: {said}") as caught:
            writer.append(inputs, outputs)
        assert isinstance(caught.value, BatchUpError)
        assert writer.rows == done
        many = [
            tuple(np.asarray(x)[None] for x in (side if isinstance(side, tuple) else (side,)))
            for side in (inputs, outputs)
        ]
        with pytest.raises(ValueError, match=rf"rows from {done}: {said}"):
            writer.extend(*map(of, many))
        assert writer.rows == done
        writer.extend(*map(of, arrays.rows(slice(done, 9))))
    opens_with(tmp_path / "a.hsq", arrays, 4)


def test_arrays_of_different_lengths(tmp_path: Path) -> None:
    """`extend` by arrays of unequal lengths, or by one without rows, adds nothing, and says what came."""
    with hs.HyperSequenceWriter(tmp_path / "a.hsq", 4) as writer:
        with pytest.raises(ValueError, match=r"one number of rows, got \[3, 4\]"):
            writer.extend(np.zeros((3, 2), np.int32), np.zeros(4, np.int64))
        with pytest.raises(ValueError, match="append"):
            writer.extend(np.float32(3))
        with pytest.raises(ValueError, match="at least one"):
            writer.extend(())
        writer.extend(*map(of, numbered(5)))
        with pytest.raises(ValueError, match=r"one number of rows, got \[3, 4\]"):
            writer.extend(np.zeros((3, 2), np.int32), np.zeros(4, np.int64))
    opens_with(tmp_path / "a.hsq", numbered(5), 4)


class Falters:
    """An array-like that cannot give some of its rows."""

    def __init__(self, rows: int) -> None:
        self.shape, self.dtype = (rows, 2), np.dtype("i4")

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> Any:
        if rows.stop > 50:
            raise OSError("the tape has been eaten")
        return np.zeros((rows.stop - rows.start, 2), "i4")


def test_data_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the data themselves comes through; whole rows came before it, and writing can go on."""
    monkeypatch.setattr("batchup.hypersequence.block.BLOCK", 100)
    with hs.HyperSequenceWriter(tmp_path / "a.hsq", 4) as writer:
        with pytest.raises(OSError, match="eaten"):
            writer.extend(Falters(100))
        done = writer.rows
        assert done < 50
        writer.append(np.ones(2, "i4"))
    with hs.HyperSequenceFile(tmp_path / "a.hsq", verify=True) as hsq:
        assert hsq.columns["i0"][:].sum() == 2
        assert len(hsq.columns["i0"]) == done + 1


class Lying(Falters):
    """An array-like that gives other rows than it says."""

    def __init__(self, give: Callable[[int], Any]) -> None:
        super().__init__(10)
        self.give = give

    def __getitem__(self, rows: slice) -> Any:
        return self.give(rows.stop - rows.start)


@pytest.mark.parametrize(
    "give",
    [
        lambda n: np.ones((n - 1, 2), "i4"),
        lambda n: np.ones((n + 1, 2), "i4"),
        lambda n: np.ones((n, 1), "i4"),
        lambda n: np.ones((n, 2), "f8") / 3,
        lambda n: np.ones((1, 2), "i4"),
        lambda n: None,
    ],
    ids=["one less", "one more", "another shape", "another dtype", "one row", "nothing"],
)
def test_data_that_lie(give: Callable[[int], Any], tmp_path: Path) -> None:
    """Data whose slices are not what their shape and dtype say are refused: nothing is cut, cast or broadcast."""
    with hs.HyperSequenceWriter(tmp_path / "a.hsq", 4) as writer:
        writer.extend(np.zeros((3, 2), "i4"))
        with pytest.raises((ValueError, TypeError)):
            writer.extend(Lying(give))
        done = writer.rows
        writer.append(np.full(2, 5, "i4"))
    with hs.HyperSequenceFile(tmp_path / "a.hsq", verify=True) as hsq:
        rows = hsq.columns["i0"][:]
        assert len(rows) == done + 1
        assert rows[-1].tolist() == [5, 5]
        assert set(rows[3:-1].ravel().tolist()) <= {1}


FIRST_ROWS: dict[str, tuple[Any, str]] = {
    "objects": (np.array([None, "x"]), "input 0: .*object.*Python objects"),
    "a dict": ({"a": 1}, "input 0: .*object"),
    "None": (None, "input 0: .*object"),
    "structured": (np.zeros(2, "i4,f4"), "input 0: .*several.*of its own"),
    "no bytes": (np.empty((0, 3)), "at least one byte"),
    "text of no length": (np.array("", "<U0") if np.array("").itemsize == 0 else np.empty((0,)), "byte|size"),
    "no array": ((), "at least one"),
}


@pytest.mark.parametrize("name", FIRST_ROWS)
def test_first_rows_that_cannot_be_stored(name: str, tmp_path: Path) -> None:
    """What cannot be stored as it lies in memory is refused at once; another first row may follow."""
    row, said = FIRST_ROWS[name]
    with hs.HyperSequenceWriter(tmp_path / "a.hsq", 4) as writer:
        with pytest.raises((TypeError, ValueError), match=said) as caught:
            writer.append(row)
        assert isinstance(caught.value, BatchUpError)
        assert writer.rows == 0
        writer.extend(*map(of, numbered(5)))
    opens_with(tmp_path / "a.hsq", numbered(5), 4)


def test_second_output_of_objects(tmp_path: Path) -> None:
    """The message counts inputs and outputs apart."""
    with hs.HyperSequenceWriter(tmp_path / "a.hsq") as writer, pytest.raises(TypeError, match=r"output 1: .*object"):
        writer.append((1, 2), (3, [None]))


def test_batches_of_2_gib(tmp_path: Path) -> None:
    """A native batch that the original could not read is refused, before memory is taken for it."""
    row = np.broadcast_to(np.uint8(0), (2**20,))
    with hs.HyperSequenceWriter(tmp_path / "a.hsq", 2048) as writer:
        with pytest.raises(ValueError, match=r"2048 rows have 2147483648 bytes.*2 GiB.*smaller batch_size"):
            writer.append(row)
        writer.append(row[1:])
    with hs.HyperSequenceFile(tmp_path / "a.hsq") as hsq:
        assert hsq[0][0].shape == (1, 2**20 - 1)


ARGUMENTS: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "mode": ({"mode": "r"}, ValueError, "mode must be 'w'.*'a'.*got 'r'"),
    "mode x": ({"mode": "x"}, ValueError, "mode must be"),
    "no batch size": ({"batch_size": 0}, ValueError, "batch_size.*1.*got 0"),
    "negative batch size": ({"batch_size": -3}, ValueError, "batch_size.*got -3"),
    "fractional batch size": ({"batch_size": 2.5}, ValueError, "batch_size.*got 2.5"),
    "boolean batch size": ({"batch_size": True}, TypeError, "batch_size"),
    "text as batch size": ({"batch_size": "4"}, TypeError, "batch_size"),
    "one text as names": ({"names": "xy"}, TypeError, "names must be a sequence of strings, got 'xy'"),
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_arguments_of_a_writer(name: str, tmp_path: Path) -> None:
    """A wrong argument is refused before any file is touched."""
    arguments, kind, said = ARGUMENTS[name]
    path = write(tmp_path / "a.hsq", numbered(5), 4)
    with pytest.raises(kind, match=said) as caught:
        hs.HyperSequenceWriter(path, **arguments)
    assert isinstance(caught.value, BatchUpError)
    assert beside(path) == set()
    opens_with(path, numbered(5), 4)


NAMES: dict[str, tuple[Any, str]] = {
    "too few": (["a"], "names must be 2 strings, one for each input and output, got"),
    "too many": (["a", "b", "c"], "names must be 2 strings"),
    "numbers": ([1, 2], "names must be 2 strings"),
    "twice the same": (["a", "a"], "names must differ"),
    "another field's": (["o0", "b"], "'o0' is that of field 1"),
}


@pytest.mark.parametrize("name", NAMES)
def test_names_that_do_not_fit(name: str, tmp_path: Path) -> None:
    """Names are checked with the first row: one for each field, all different, no other field's."""
    names, said = NAMES[name]
    writer = hs.HyperSequenceWriter(tmp_path / "a.hsq", 4, names=names)
    with pytest.raises((ValueError, TypeError), match=said), writer:
        writer.append(*map(of, numbered(5).rows(0)))
    assert os.listdir(tmp_path) == []


def test_adding_what_does_not_fit(tmp_path: Path) -> None:
    """mode='a' refuses another batch size, other names, other rows; the file stays as it is."""
    path = write(tmp_path / "a.hsq", numbered(6), 4, names=["x", "y"])
    before = path.read_bytes()
    with pytest.raises(ValueError, match="native batches of 4 rows, got 8"):
        hs.HyperSequenceWriter(path, 8, mode="a")
    with pytest.raises(ValueError, match=r"the names \('x', 'y'\), got \('x', 'z'\)"):
        hs.HyperSequenceWriter(path, mode="a", names=["x", "z"])
    assert beside(path) == set()
    with pytest.raises(ValueError, match="row 6: input 0 must be"), hs.HyperSequenceWriter(path, mode="a") as writer:
        writer.append(1.5, 2)
    assert path.read_bytes() == before
    unnamed = write(tmp_path / "b.hsq", numbered(6), 4)
    with pytest.raises(ValueError, match="names"):
        hs.HyperSequenceWriter(unnamed, mode="a", names=["x", "y"])
    with hs.HyperSequenceWriter(path, 4, mode="a", names=["x", "y"]) as writer:
        writer.extend(*map(of, numbered(9).rows(slice(6, 9))))
    opens_with(path, numbered(9), 4)


def test_adding_to_what_is_no_file_of_this_kind(tmp_path: Path) -> None:
    """mode='a' on another file leaves it alone, and nothing beside it."""
    path = tmp_path / "a.hsq"
    path.write_bytes(b"something else entirely")
    with pytest.raises(FileFormatError, match=re.escape(str(path))):
        hs.HyperSequenceWriter(path, mode="a")
    assert path.read_bytes() == b"something else entirely"
    assert beside(path) == set()


def test_after_the_end(tmp_path: Path) -> None:
    """A closed writer takes nothing more and says what does; closing again does nothing."""
    writer = hs.HyperSequenceWriter(tmp_path / "a.hsq", 4)
    writer.extend(*map(of, numbered(6)))
    assert not writer.closed
    writer.close()
    assert writer.closed
    writer.close()
    for call in (
        lambda: writer.append(*map(of, numbered(1).rows(0))),
        lambda: writer.extend(*map(of, numbered(1))),
        lambda: writer.flush(),
    ):
        with pytest.raises(ValueError, match=r"closed.*mode='a'"):
            call()
    assert writer.rows == 6
    opens_with(tmp_path / "a.hsq", numbered(6), 4)


@pytest.mark.parametrize("use_mmap", [True, False])
def test_a_closed_file(use_mmap: bool, tmp_path: Path) -> None:
    """Whatever would read from a closed file says that it is closed; its description stays."""
    hsq = hs.HyperSequenceFile(write(tmp_path / "a.hsq", numbered(10), 4, {"a": 1}), use_mmap)
    column, view, source = hsq.columns["o0"], hs.HyperSequenceView(hsq), hsq.data_source()
    running = source.batch_iterator(1)
    next(running)
    hsq.close()
    hsq.close()
    reads: list[Callable[[], Any]] = [
        lambda: hsq[0],
        lambda: hsq[-1],
        lambda: list(hsq),
        lambda: view[0],
        lambda: hsq.rebatch(3)[1],
        lambda: column[:],
        lambda: column[[3, 1, 2]],
        lambda: column[5],
        lambda: column.view(slice(0, 3)),
        lambda: np.asarray(column),
        hsq.verify,
        lambda: next(source.batch_iterator(4, shuffle=1)),
        lambda: next(source.batch_iterator(4, copy=False)),
        lambda: source.samples_by_indices([3]),
        lambda: [*running, *running],
    ]
    for read in reads:
        with pytest.raises(ValueError, match="closed") as caught:
            read()
        assert isinstance(caught.value, BatchUpError)
    assert (len(hsq), hsq.batch_size(), hsq.user_meta()) == (3, 4, {"a": 1})
    assert len(column) == 10
    assert column[0:0].shape == (0,)


def test_leaving_the_block_closes(tmp_path: Path) -> None:
    """`with` closes a file, also when it ends with an exception, which comes through."""
    path = write(tmp_path / "a.hsq", numbered(10), 4)
    with pytest.raises(KeyError, match="mine"), hs.HyperSequenceFile(path) as hsq:
        raise KeyError("mine")
    with pytest.raises(ValueError, match="closed"):
        hsq[0]


INDICES: dict[str, tuple[Any, type[Exception], str]] = {
    "behind the end": (3, IndexError, "3"),
    "before the beginning": (-4, IndexError, "-4"),
    "huge": (2**80, IndexError, "out of range|120892"),
    "fractional": (1.0, TypeError, "one int, got float"),
    "a slice": (slice(0, 2), TypeError, "one int, got slice"),
    "a list": ([0, 1], TypeError, "one int, got list"),
    "an array": (np.array([0]), TypeError, "one int, got ndarray"),
    "a tuple": ((0,), TypeError, "one int, got tuple"),
    "text": ("i0", TypeError, "one int, got str"),
    "None": (None, TypeError, "one int, got NoneType"),
}


@pytest.mark.parametrize("name", INDICES)
def test_batch_numbers(name: str, tmp_path: Path) -> None:
    """Batches are read by one int in range, of whatever sequence."""
    index, kind, said = INDICES[name]
    with hs.HyperSequenceFile(write(tmp_path / "a.hsq", numbered(10), 4)) as hsq:
        for sequence in (hsq, hs.HyperSequenceView(hsq), hsq.rebatch(4)):
            with pytest.raises(kind, match=said) as caught:
                sequence[index]
            assert isinstance(caught.value, BatchUpError)
            assert sequence[np.int8(1)][1].tolist() == sequence[1][1].tolist() == [4, 5, 6, 7]


def test_rows_of_a_column(tmp_path: Path) -> None:
    """A column takes what a 1-D index may be, and refuses the rest."""
    with hs.HyperSequenceFile(write(tmp_path / "a.hsq", numbered(10), 4)) as hsq:
        column = hsq.columns["o0"]
        assert column[::3].tolist() == [0, 3, 6, 9]
        assert column[::-1].tolist() == list(range(10))[::-1]
        assert column[8:2].tolist() == []
        assert column[np.arange(10) % 4 == 1].tolist() == [1, 5, 9]
        assert column[[-1, np.int64(3)]].tolist() == [9, 3]
        assert column[np.array([], np.intp)].shape == (0,)
        assert (column[-10], column[np.uint8(9)]) == (0, 9)
        assert not hasattr(column, "__array_interface__")
        for index, kind in (
            (10, IndexError),
            (-11, IndexError),
            ([10], IndexError),
            ([0, -11], IndexError),
            ((1, 2), TypeError),
            ("0", (TypeError, ValueError)),
            (1.5, (TypeError, ValueError)),
            ([1.5], TypeError),
            (np.ones(9, bool), (IndexError, TypeError, ValueError)),
            (np.zeros((2, 2), int), (IndexError, TypeError, ValueError)),
            (None, (TypeError, ValueError)),
        ):
            with pytest.raises(kind) as caught:
                column[index]
            assert isinstance(caught.value, BatchUpError), index
        with pytest.raises(ValueError, match="copy"):
            np.asarray(column, copy=False) if np.lib.NumpyVersion(np.__version__) >= "2.0.0" else column.__array__(
                copy=False
            )


SHARES: dict[str, tuple[Any, type[Exception]]] = {
    "none": ((), ValueError),
    "all": ((1.0,), ValueError),
    "more than all": ((0.7, 0.5), ValueError),
    "nothing": ((0.0,), ValueError),
    "too little": ((0.01,), ValueError),
    "negative": ((-0.5,), ValueError),
    "not a number": ((float("nan"),), TypeError),
    "infinite": ((float("inf"),), TypeError),
    "text": (("0.5",), TypeError),
    "a list": (([0.5, 0.2],), TypeError),
}


@pytest.mark.parametrize("name", SHARES)
def test_shares(name: str, tmp_path: Path) -> None:
    """Shares that leave a part empty, or are no numbers, are refused."""
    shares, kind = SHARES[name]
    with hs.HyperSequenceFile(write(tmp_path / "a.hsq", numbered(10), 1)) as hsq:
        with pytest.raises(kind, match="shares must") as caught:
            hsq.split(*shares)
        assert isinstance(caught.value, BatchUpError)


def test_other_arguments_of_a_sequence(tmp_path: Path) -> None:
    """Sizes, generators, views and sources are checked where they are given."""
    with hs.HyperSequenceFile(write(tmp_path / "a.hsq", numbered(10), 4)) as hsq:
        for size, kind in ((0, ValueError), (-1, ValueError), (1.5, ValueError), (True, TypeError), (None, TypeError)):
            with pytest.raises((kind, ValueError), match="new_batch_size"):
                hsq.rebatch(size)
        for rng, kind in (("1", TypeError), (1.5, TypeError), (-1, ValueError)):
            with pytest.raises((kind, ValueError), match="rng"):
                hsq.shuffle(rng)
        for indices in ([3], [-4], [0.5], [[0]]):
            with pytest.raises((IndexError, TypeError, ValueError)) as caught:
                hs.HyperSequenceView(hsq, indices)
            assert isinstance(caught.value, BatchUpError)
        with pytest.raises(ValueError, match="by must be 'sample' or 'batch', got 'row'"):
            hsq.data_source(by="row")
        for name in ("indices", "sampler"):
            with pytest.raises(TypeError, match=f"{name}=.*leave it out"):
                hsq.data_source(by="batch", **{name: None})
            with pytest.raises(TypeError, match=f"{name}=.*leave it out"):
                hsq.split(0.5)[0].data_source(**{name: None})


class Odd:
    """What JSON, copies and pickles cannot hold."""

    def __deepcopy__(self, memo: Any) -> Any:
        raise TypeError("not to be copied")

    __reduce_ex__ = __deepcopy__  # type: ignore[assignment]


def deep(levels: int) -> Any:
    found: Any = 1
    for _ in range(levels):
        found = [found]
    return found


def circle() -> Any:
    found: list[Any] = []
    found.append(found)
    return found


NOT_JSON: dict[str, Callable[[], Any]] = {
    "object": object,
    "set": lambda: {1, 2},
    "NumPy int": lambda: np.int64(3),
    "array": lambda: np.zeros(3),
    "bytes": lambda: b"x",
    "lock": threading.Lock,
    "circle": circle,
    "odd": Odd,
    "key": lambda: {(1, 2): 3},
    "very deep": lambda: deep(5000),
}


def filled(writer: hs.HyperSequenceWriter, early: bool, bad: Any) -> None:
    """Write 18 rows; between or behind them, put something bad into the user meta."""
    writer.user_meta()["good"] = 1
    writer.extend(*map(of, numbered(9)))
    if early:
        writer.flush()
        writer.user_meta()["bad"] = bad
        writer.extend(*map(of, numbered(18).rows(slice(9, 18))))
    else:
        writer.extend(*map(of, numbered(18).rows(slice(9, 18))))
        writer.user_meta()["bad"] = bad


def in_a_block(path: Path, early: bool, bad: Any) -> None:
    with hs.HyperSequenceWriter(path, 4) as writer:
        filled(writer, early, bad)


@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize("name", NOT_JSON)
def test_user_meta_that_json_cannot_hold(name: str, early: bool, tmp_path: Path) -> None:
    """It is an InvalidTypeError at the end; all whole records can be recovered, or it is put right and closed again."""
    path = tmp_path / "a.hsq"
    with pytest.raises(InvalidTypeError, match=r"user_meta\(\).*JSON"):
        in_a_block(path, early, NOT_JSON[name]())
    assert not path.exists()
    assert hs.HyperSequenceWriter.recover(path) == 16
    opens_with(path, numbered(16), 4)
    assert beside(path) == set()
    writer = hs.HyperSequenceWriter(path, 4)
    filled(writer, early, NOT_JSON[name]())
    with pytest.raises(InvalidTypeError, match=r"user_meta\(\).*JSON"):
        writer.close()
    opens_with(path, numbered(16), 4)
    del writer.user_meta()["bad"]
    writer.close()
    opens_with(path, numbered(18), 4)
    assert hs.HyperSequenceFile(path).user_meta() == {"good": 1}
    assert beside(path) == set()


def test_deep_user_meta(tmp_path: Path) -> None:
    """What JSON holds is held, lists in lists in lists as well."""
    path = write(tmp_path / "a.hsq", numbered(9), 4, {"x": deep(400)})
    assert hs.HyperSequenceFile(path).user_meta() == {"x": deep(400)}
    with hs.HyperSequenceWriter(path, mode="a") as writer:
        writer.extend(*map(of, numbered(17).rows(slice(9, 17))))
    opens_with(path, numbered(17), 4)


def test_places_where_no_file_can_be(tmp_path: Path) -> None:
    """A folder, a missing folder, a missing file: the usual exceptions, which name the path."""
    with pytest.raises(ValueError, match=r"is a folder.*name a file"):
        hs.HyperSequenceWriter(tmp_path)
    for mode in "wa":
        with pytest.raises(FileNotFoundError, match="missing"):
            hs.HyperSequenceWriter(tmp_path / "missing" / "a.hsq", mode=mode)
    with pytest.raises(FileNotFoundError, match="missing"):
        hs.HyperSequenceFile(tmp_path / "missing.hsq")
    with pytest.raises(IsADirectoryError):
        hs.HyperSequenceFile(tmp_path)
    for wrong in (3, None, 1.5):
        with pytest.raises(TypeError):
            hs.HyperSequenceFile(wrong)  # type: ignore[arg-type]
    assert os.listdir(tmp_path) == []


def test_nothing_to_recover(tmp_path: Path) -> None:
    """Without a partial file there is nothing to recover; with one that holds no whole record neither."""
    path = tmp_path / "a.hsq"
    with pytest.raises(FileNotFoundError, match=r"partial"):
        hs.HyperSequenceWriter.recover(path)
    (tmp_path / "a.hsq.partial").write_bytes(b"x" * 100)
    with pytest.raises(FileFormatError, match="no whole record"):
        hs.HyperSequenceWriter.recover(path)
    assert not path.exists()
    assert (tmp_path / "a.hsq.partial").read_bytes() == b"x" * 100
    for journal in (b"", b"{}", b"\n", b"[1]\n", b"\x80\x04N.\n", b'{"base_rows": 0}\n', b"[" * 100_000 + b"\n"):
        (tmp_path / "a.hsq.partial.journal").write_bytes(journal)
        with pytest.raises(FileFormatError, match=r"journal|recover"):
            hs.HyperSequenceWriter.recover(path)
        assert not path.exists()


def test_two_writers_in_one_process(tmp_path: Path) -> None:
    """A second writer, of either mode, is refused while the first is at it; so is recovering."""
    path = write(tmp_path / "a.hsq", numbered(3), 4)
    with hs.HyperSequenceWriter(path, 4) as writer:
        writer.extend(*map(of, numbered(9)))
        writer.flush()
        for mode in "wa":
            with pytest.raises(FileBusyError, match=r"another writer.*wait"):
                hs.HyperSequenceWriter(path, mode=mode)
        with pytest.raises(FileBusyError, match="another writer"):
            hs.HyperSequenceWriter.recover(path)
        (tmp_path / "there").symlink_to(tmp_path)
        with pytest.raises(FileBusyError):
            hs.HyperSequenceWriter(tmp_path / "there" / "a.hsq")
        opens_with(path, numbered(3), 4)
    opens_with(path, numbered(9), 4)
    with pytest.raises(BlockingIOError):
        holds_twice(path)


def holds_twice(path: Path) -> None:
    with hs.HyperSequenceWriter(path), hs.HyperSequenceWriter(path):
        pass


def test_two_writers_in_two_processes(tmp_path: Path) -> None:
    """A writer of another process is noticed, and when it has been killed its place is free."""
    path = write(tmp_path / "a.hsq", numbered(3), 4)
    code = (
        "import sys, numpy as np; from batchup import hypersequence as hs; from tests.hsq import numbered, of; "
        "w = hs.HyperSequenceWriter(sys.argv[1], 4); w.extend(*map(of, numbered(9))); w.flush(); "
        "print('ready', flush=True); sys.stdin.read()"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as other:
        try:
            assert other.stdout is not None
            assert other.stdout.readline() == "ready\n"
            for mode in "wa":
                with pytest.raises(FileBusyError, match="another writer"):
                    hs.HyperSequenceWriter(path, mode=mode)
            with pytest.raises(FileBusyError):
                hs.HyperSequenceWriter.recover(path)
        finally:
            other.kill()
    opens_with(path, numbered(3), 4)
    assert hs.HyperSequenceWriter.recover(path) == 8
    opens_with(path, numbered(8), 4)


def test_an_exception_in_the_block(tmp_path: Path) -> None:
    """It comes through; the name keeps the old file; whole records can be recovered, and the rest is gone."""
    path = write(tmp_path / "a.hsq", numbered(3), 4, {"old": 1})
    before = path.read_bytes()
    given_up(path, numbered(11), 4, {"new": 2}, names=["x", "y"])
    assert path.read_bytes() == before
    assert hs.HyperSequenceWriter.recover(str(path)) == 8
    opens_with(path, numbered(8), 4)
    assert hs.HyperSequenceFile(path).user_meta() == {"new": 2}
    assert hs.HyperSequenceFile(path).names == ("x", "y")
    assert beside(path) == set()


def test_an_exception_before_a_record_is_whole(tmp_path: Path) -> None:
    """Then nothing is left to recover, nor lying around; neither is there when nothing was added."""
    path = tmp_path / "a.hsq"
    given_up(path, numbered(3), 4)
    assert os.listdir(tmp_path) == []
    write(path, numbered(9), 4)
    given_up(path, numbered(11).rows(slice(9, 11)), mode="a")
    opens_with(path, numbered(9), 4)
    assert beside(path) == set()


def test_an_exception_while_adding(tmp_path: Path) -> None:
    """After mode='a' failed, the old file stands; recovering gives it with all whole new records."""
    path = write(tmp_path / "a.hsq", numbered(9), 4, {"old": 1})
    given_up(path, numbered(21).rows(slice(9, 21)), mode="a")
    opens_with(path, numbered(9), 4)
    assert hs.HyperSequenceWriter.recover(path) == 20
    opens_with(path, numbered(20), 4)
    assert hs.HyperSequenceFile(path).user_meta() == {"old": 1}


def test_a_new_writer_begins_anew(tmp_path: Path) -> None:
    """What an earlier writer left is gone when a new one of the same name begins."""
    path = tmp_path / "a.hsq"
    given_up(path, numbered(80), 4)
    write(path, Arrays((np.arange(5),)), 2)
    opens_with(path, Arrays((np.arange(5),)), 2)
    assert beside(path) == set()


def test_a_forgotten_writer_warns(tmp_path: Path) -> None:
    """A writer that nobody closed warns when it goes, and its whole records can be recovered."""
    path = tmp_path / "a.hsq"
    writer = hs.HyperSequenceWriter(path, 4)
    writer.extend(*map(of, numbered(9)))
    with pytest.warns(ResourceWarning, match="not closed"):
        del writer
    assert not path.exists()
    assert hs.HyperSequenceWriter.recover(path) == 8
    opens_with(path, numbered(8), 4)


def test_a_writer_that_could_not_begin_warns_of_nothing(tmp_path: Path) -> None:
    """No warning comes from writers whose arguments were refused, nor from files that did not open."""
    (tmp_path / "a.hsq").write_bytes(b"x")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for call in (
            lambda: hs.HyperSequenceWriter(tmp_path / "a.hsq", 0),
            lambda: hs.HyperSequenceWriter(tmp_path / "a.hsq", mode="a"),
            lambda: hs.HyperSequenceWriter(tmp_path / "missing" / "a.hsq"),
            lambda: hs.HyperSequenceFile(tmp_path / "a.hsq"),
        ):
            with pytest.raises((OSError, ValueError)):
                call()


@pytest.mark.parametrize("call", ["pwrite", "fsync"])
def test_what_failed_can_be_recovered(call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the disk fails, the error comes through, whole rows can be recovered, and no half file has the name."""
    path = tmp_path / "a.hsq"

    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    def in_the_block() -> None:
        with hs.HyperSequenceWriter(path, 4) as writer:
            writer.extend(*map(of, numbered(9)))
            writer.flush()
            writer.extend(*map(of, numbered(18).rows(slice(9, 18))))
            monkeypatch.setattr(os, call, full)

    with pytest.raises(OSError, match="No space"):
        in_the_block()
    monkeypatch.undo()
    assert not path.exists()
    rows = hs.HyperSequenceWriter.recover(path)
    assert rows >= 8
    opens_with(path, numbered(rows), 4)
    assert beside(path) == set()


def test_closed_again_when_there_is_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that could not be written are kept: when there is room again, close finishes the file, each row once."""
    path = tmp_path / "a.hsq"
    writer = hs.HyperSequenceWriter(path, 4)
    writer.extend(*map(of, numbered(9)))

    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        for call in (writer.flush, writer.close, writer.flush):
            with pytest.raises(OSError, match="No space"):
                call()
    assert writer.rows == 9
    writer.extend(*map(of, numbered(18).rows(slice(9, 18))))
    writer.close()
    opens_with(path, numbered(18), 4)
    assert beside(path) == set()


def test_keras_sequence_is_not_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Keras the module works, and KerasSequence names the command that installs it."""
    monkeypatch.setitem(sys.modules, "keras", None)
    monkeypatch.setitem(sys.modules, "keras.utils", None)
    monkeypatch.delitem(sys.modules, "batchup.hypersequence.keras_sequence", raising=False)
    with pytest.raises(ImportError, match=r'pip install "batchup\[keras\]"'):
        hs.KerasSequence  # noqa: B018
    with pytest.raises(AttributeError, match="no_such"):
        hs.no_such  # noqa: B018


def test_a_name_that_is_not_to_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the file does not get its name at the very end, closing may be tried again, and what is whole recovered."""

    def refused(*_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    path = tmp_path / "a.hsq"
    for again in (True, False):
        writer = hs.HyperSequenceWriter(path, 4)
        writer.extend(*map(of, numbered(18)))
        writer.flush()  # the journal is there, so that only the last step fails
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", refused)
            with pytest.raises(PermissionError):
                writer.close()
        if again:
            writer.close()
            opens_with(path, numbered(18), 4)
            path.unlink()
        else:
            with pytest.raises(KeyError), writer:
                raise KeyError
            assert hs.HyperSequenceWriter.recover(path) == 16
            opens_with(path, numbered(16), 4)
    assert beside(path) == set()
