"""What is read from a .hsq file, in whatever way, is what was written, in whatever way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from batchup import hypersequence as hs

from .hsq import (
    DTYPES,
    Arrays,
    beside,
    ended,
    holds,
    meta_of,
    numbered,
    of,
    opens_with,
    records_of,
    same,
    taken_apart,
    values,
    write,
)

READING = [{}, {"use_mmap": False}, {"copy_buffer": True}, {"use_mmap": False, "copy_buffer": True}]
every_reading = pytest.mark.parametrize("options", READING, ids=["mapped", "read", "copied", "read, copied"])


@every_reading
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (3,), (2, 1, 3)], ids=str)
def test_every_dtype_and_shape(dtype: str, shape: tuple[int, ...], options: dict[str, Any], tmp_path: Path) -> None:
    """All dtypes that lie in memory as they are, of either byte order, go through, by batch and by row."""
    arrays = Arrays((values(dtype, (11, *shape)),), (values(dtype, (11,), 5), values("u1", (11, 2))))
    path = write(tmp_path / "a.hsq", arrays, 4)
    with hs.HyperSequenceFile(path, **options) as hsq:
        holds(hsq, arrays, 4)
        assert hsq.dtypes() == (
            (np.dtype((dtype, shape)),),
            (np.dtype(dtype), np.dtype(("u1", (2,)))),
        )
        assert [d.shape for side in hsq.dtypes() for d in side] == [shape, (), (2,)]
        for name, array in zip(("i0", "o0", "o1"), arrays.all, strict=True):
            column = hsq.columns[name]
            same(column[:], array)
            same(column[[10, 0, 8, 8, 3]], array[[10, 0, 8, 8, 3]])
            same(np.asarray(column), array)
            assert (column.shape, column.dtype) == (array.shape, array.dtype)
        assert hsq.verify() == []


SIDES = {
    "one and one": ((3,), (2, 2)),
    "one and none": ((3,), None),
    "three and two": ([(3,), (), (2, 2)], [(1,), ()]),
    "two and none": ([(3,), ()], None),
    "none and one": (None, (3,)),
    "none and two": (None, [(3,), ()]),
    "one beside an empty one": ([(3,), (0,), (0, 4)], (2,)),
}


def shaped(rows: int, sides: Any) -> Arrays:
    """Return arrays for the inputs and outputs of these shapes."""
    made = []
    for seed, side in enumerate(sides):
        shapes = [] if side is None else side if isinstance(side, list) else [side]
        made.append(tuple(values("<f4", (rows, *shape), seed * 7 + i) for i, shape in enumerate(shapes)))
    return Arrays(*made)


@every_reading
@pytest.mark.parametrize("name", SIDES)
def test_numbers_of_inputs_and_outputs(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    """Any number of inputs and outputs goes through: one is an array, several (or none) are a tuple."""
    arrays = shaped(10, SIDES[name])
    by_row = tmp_path / "rows.hsq"
    with hs.HyperSequenceWriter(by_row, 4) as writer:
        for i in range(10):
            row = arrays.rows(i)
            writer.append(inputs=of(row.inputs), outputs=of(row.outputs))
    path = write(tmp_path / "whole.hsq", arrays, 4)
    assert by_row.read_bytes() == path.read_bytes()
    with hs.HyperSequenceFile(path, **options) as hsq:
        assert (hsq.no_inputs(), hsq.no_outputs()) == (len(arrays.inputs), len(arrays.outputs))
        holds(hsq, arrays, 4)
        holds(hsq.rebatch(3), arrays, 3)
        assert hsq.verify() == []
        for batch, rows in zip(hsq.data_source().batch_iterator(3), arrays.batches(3), strict=True):
            same(batch, rows.all)


def test_outputs_may_be_left_out(tmp_path: Path) -> None:
    """Without outputs, both writing calls take the inputs alone, by place too."""
    with hs.HyperSequenceWriter(tmp_path / "a.hsq", 4) as writer:
        writer.append(np.arange(3))
        writer.extend(np.arange(3, 12).reshape(3, 3))
        writer.append(inputs=np.arange(12, 15))
    opens_with(tmp_path / "a.hsq", Arrays((np.arange(15).reshape(5, 3),)), 4)


def test_what_append_takes(tmp_path: Path) -> None:
    """Python numbers, lists, text and NumPy scalars are rows; lists stand for one array, tuples for several."""
    with hs.HyperSequenceWriter(tmp_path / "a.hsq", 2) as writer:
        for i in range(3):
            writer.append(inputs=([i, i + 1], float(i)), outputs=np.float32(i))
        writer.extend(inputs=([[3, 4]], np.array([3.0])), outputs=np.array([3], np.float32))
    rows = np.arange(4)
    expected = Arrays((np.stack([rows, rows + 1], 1), rows.astype(float)), (rows.astype(np.float32),))
    opens_with(tmp_path / "a.hsq", expected, 2)


def test_any_memory_order(tmp_path: Path) -> None:
    """Arrays in Fortran order, with gaps, reversed, unaligned, mapped or masked are stored in C order."""
    base = values("<f8", (12, 4, 3))
    np.save(tmp_path / "m.npy", base)
    unaligned = np.frombuffer(b"x" + base.tobytes(), "<f8", offset=1).reshape(base.shape)
    kinds = (np.asfortranarray(base), np.repeat(base, 2, 0)[::2], base[::-1].copy()[::-1], unaligned)
    kinds += (np.load(tmp_path / "m.npy", mmap_mode="r"), np.ma.masked_array(base), base.tolist())
    plain = write(tmp_path / "plain.hsq", Arrays((base,)), 5).read_bytes()
    for kind in kinds:
        with hs.HyperSequenceWriter(tmp_path / "a.hsq", 5) as writer:
            writer.extend(kind)
        assert (tmp_path / "a.hsq").read_bytes() == plain
        with hs.HyperSequenceWriter(tmp_path / "a.hsq", 5) as writer:
            for row in kind:
                writer.append(row)
        assert (tmp_path / "a.hsq").read_bytes() == plain


class Sliced:
    """What can be sliced and knows its shape, and no more; it notes what was asked for."""

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self._array = array
        self.shape, self.dtype = array.shape, array.dtype
        self.asked: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return len(self._array)

    def __getitem__(self, rows: slice) -> Any:
        assert type(rows) is slice
        self.asked.append((rows.start, rows.stop))
        return self._array[rows]


def test_extend_reads_piece_by_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies elsewhere is read in pieces that fit into the block, each row once; a bar sees the pieces."""
    monkeypatch.setattr("batchup.hypersequence.block.BLOCK", 1000)
    data, shown = Sliced(values("<i4", (500, 5))), []

    def bar(pieces: Any, **options: Any) -> Any:
        shown.append(options["total"])
        return pieces

    with hs.HyperSequenceWriter(tmp_path / "a.hsq", 7) as writer:
        writer.extend(data, progress_iter_func=bar)
    assert shown == [len(data.asked)]
    assert len(data.asked) >= 10
    assert [start for start, _ in data.asked] == [0, *(stop for _, stop in data.asked[:-1])]
    assert data.asked[-1][1] == 500
    assert max(stop - start for start, stop in data.asked) * 20 <= 1000
    opens_with(tmp_path / "a.hsq", Arrays((data._array,)), 7)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 16, 100])
@pytest.mark.parametrize("rows", [1, 2, 6, 7, 8, 15, 16, 17, 32, 33])
def test_every_length_of_the_tail(size: int, rows: int, tmp_path: Path) -> None:
    """Rows that fill no batch are the short last one: in len, by index, in loops, splits and columns."""
    arrays = numbered(rows)
    path = write(tmp_path / "a.hsq", arrays, size)
    opens_with(path, arrays, size)
    with hs.HyperSequenceFile(path) as hsq:
        assert hsq.batch_size() == size
        assert len(hsq) == -(-rows // size)
        last = rows % size or size
        assert len(hsq[-1][1]) == len(hsq[len(hsq) - 1][1]) == last
        assert hsq[-1][1].tolist() == list(range(rows - last, rows))
        assert hsq.columns["o0"][-1] == rows - 1
        if len(hsq) > 1:
            parts = hsq.split(0.5) if len(hsq) > 2 else (hsq,)
            assert sorted(n for part in parts for _, y in part for n in y.tolist()) == list(range(rows))


def test_tails_of_every_length_by_the_bytes(tmp_path: Path) -> None:
    """A file is: the records, the tail rows field by field, the CRC-32s, the meta block, the trailer."""
    import zlib

    for rows in range(1, 13):
        arrays = numbered(rows)
        data, meta = taken_apart(write(tmp_path / "a.hsq", arrays, 4, {"a": [1]}, names=["x", "y"]).read_bytes())
        whole = records_of(arrays, 4)
        tail = b"".join(x[rows // 4 * 4 :].tobytes() for x in arrays.all)
        pieces = [whole[i : i + 64] for i in range(0, len(whole), 64)] + [tail] * bool(tail)
        sums = np.array([zlib.crc32(piece) for piece in pieces], "<u4").tobytes()
        assert data == whole + tail + sums
        assert meta["tail_rows"] == rows % 4
        assert meta["names"] == ["x", "y"]
        place = {"algorithm": "crc32", "offset": len(whole + tail), "count": len(pieces)}
        assert meta["checksums"] == place
        old = meta_of(arrays, 4, usermeta={"a": [1]}, version=meta["version"])
        assert {key: meta[key] for key in old} == old


def test_nothing_written(tmp_path: Path) -> None:
    """A writer that was given nothing makes a file of no batches, which takes rows later."""
    path = write(tmp_path / "a.hsq", Arrays((np.empty((0, 3)),)), 4, {"note": "empty"})
    for options in READING:
        with hs.HyperSequenceFile(path, verify=True, **options) as hsq:
            assert (len(hsq), list(hsq), hsq.dtypes()) == (0, [], ((), ()))
            assert (hsq.no_inputs(), hsq.no_outputs(), hsq.batch_size()) == (0, 0, 4)
            assert (hsq.user_meta(), hsq.names, list(hsq.columns)) == ({"note": "empty"}, (), [])
            assert len(hsq.rebatch(3)) == 0
            with pytest.raises(IndexError):
                hsq[0]
    arrays = numbered(6)
    with hs.HyperSequenceWriter(path, mode="a") as writer:
        assert writer.user_meta() == {"note": "empty"}
        writer.extend(*map(of, arrays))
    opens_with(path, arrays, 4)
    assert beside(path) == set()


def test_no_rows_but_their_kind(tmp_path: Path) -> None:
    """`extend` by no rows still says what a row is; the file has dtypes and names, and no batches."""
    with hs.HyperSequenceWriter(tmp_path / "a.hsq", 4, names=["x"]) as writer:
        writer.extend(np.empty((0, 3), ">f4"))
    for options in READING:
        with hs.HyperSequenceFile(tmp_path / "a.hsq", **options) as hsq:
            assert (len(hsq), hsq.names) == (0, ("x",))
            assert hsq.dtypes() == ((np.dtype((">f4", (3,))),), ())
            assert hsq.columns["x"].shape == (0, 3)
            assert hsq.verify() == []
            assert list(hsq.data_source().batch_iterator(2)) == []
    with hs.HyperSequenceWriter(tmp_path / "a.hsq", mode="a") as writer, pytest.raises(ValueError, match="input 0"):
        writer.extend(np.empty((2, 3), "<f4"))


def test_names(tmp_path: Path) -> None:
    """Names reach columns, beside i0 and o0, and the keys of dicts; without names there are i0, i1, o0."""
    arrays = shaped(9, ([(3,), ()], (2,)))
    path = write(tmp_path / "a.hsq", arrays, 4, names=("image", "size", "label"))
    with hs.HyperSequenceFile(path) as hsq:
        assert hsq.names == ("image", "size", "label")
        assert list(hsq.columns) == ["i0", "i1", "o0"]
        same(hsq.columns["size"][:], hsq.columns["i1"][:])
        (batch,) = hsq.data_source(as_dict=True).batch_iterator(20)
        assert list(batch) == ["image", "size", "label"]
        same(tuple(batch.values()), arrays.all)
        with pytest.raises(KeyError, match="label"):
            hsq.columns["lable"]
    with hs.HyperSequenceFile(write(tmp_path / "b.hsq", arrays, 4)) as hsq:
        assert hsq.names == ("i0", "i1", "o0")
    write(tmp_path / "b.hsq", arrays, 4, names=["i0", "b", "Ünïcode \U0001f600"])
    assert hs.HyperSequenceFile(tmp_path / "b.hsq").names == ("i0", "b", "Ünïcode \U0001f600")


META = {
    "text": "Ünïcode \U0001f600 \x00 \\u",
    "numbers": [0, -1, 2**80, 0.1, 1e300, float("inf"), True, None],
    "nested": {"a": {"b": [[], {}]}},
    "": 3,
}


@pytest.mark.parametrize("rows", [0, 3, 9])
def test_user_meta(rows: int, tmp_path: Path) -> None:
    """Whatever JSON can hold comes back, put in before, between and behind the rows; 'a' goes on with it."""
    path, arrays = tmp_path / "a.hsq", numbered(9)
    with hs.HyperSequenceWriter(path, 4) as writer:
        meta = writer.user_meta()
        meta["text"] = "will be replaced"
        writer.extend(*map(of, arrays.rows(slice(rows))))
        meta["numbers"] = META["numbers"]
        writer.flush()
        meta.update(META)
    assert hs.HyperSequenceFile(path).user_meta() == META
    with hs.HyperSequenceWriter(path, mode="a") as writer:
        assert writer.user_meta() == META
        writer.user_meta()["more"] = 1
        del writer.user_meta()["numbers"]
    more = {**META, "more": 1}
    del more["numbers"]
    assert hs.HyperSequenceFile(path).user_meta() == more
    opens_with(path, arrays.rows(slice(rows)), 4)


def test_a_large_user_meta(tmp_path: Path) -> None:
    """A user meta of a megabyte goes through; the older trailer could not hold it."""
    meta = {"text": "".join(map(chr, values("<u2", (300_000,)) % 0xD000 + 32))}
    path = write(tmp_path / "a.hsq", numbered(9), 4, meta)
    assert hs.HyperSequenceFile(path).user_meta() == meta


@pytest.mark.parametrize("first", [0, 1, 4, 6, 8])
@pytest.mark.parametrize("more", [0, 1, 2, 3, 9])
def test_rows_added_later(first: int, more: int, tmp_path: Path) -> None:
    """mode='a' joins tail rows and new ones into the very file that one writer would have made."""
    arrays = numbered(first + more)
    once = write(tmp_path / "once.hsq", arrays, 4, {"a": 1}, names=["x", "y"]).read_bytes()
    path = write(tmp_path / "a.hsq", arrays.rows(slice(first)), 4, {"a": 1}, names=["x", "y"])
    with hs.HyperSequenceWriter(path, mode="a", names=["x", "y"]) as writer:
        assert writer.rows == first
        for i in range(first, first + more):
            writer.append(*map(of, arrays.rows(i)))
        assert writer.rows == first + more
    if first + more:
        opens_with(path, arrays, 4)
    if first:
        assert path.read_bytes() == once
    assert beside(path) == {"once.hsq"}


def test_rows_added_to_a_file_that_is_not_there(tmp_path: Path) -> None:
    """mode='a' makes a file if there is none."""
    opens_with(write(tmp_path / "a.hsq", numbered(9), 4, mode="a"), numbered(9), 4)
    opens_with(write(tmp_path / "b.hsq", numbered(17), mode="a"), numbered(17), 16)


def test_rows_added_to_a_file_without_checksums(tmp_path: Path) -> None:
    """mode='a' goes on with a file that the original wrote, and gives it checksums."""
    arrays = numbered(14)
    path = tmp_path / "a.hsq"
    meta = meta_of(arrays.rows(slice(8)), 4, usermeta={"by": "the original"})
    path.write_bytes(ended(records_of(arrays.rows(slice(8)), 4), json.dumps(meta).encode()))
    with hs.HyperSequenceFile(path) as hsq, pytest.raises(NotImplementedError, match="mode='a'"):
        hsq.verify()
    with hs.HyperSequenceWriter(path, mode="a"):
        pass
    opens_with(path, arrays.rows(slice(8)), 4)
    path.write_bytes(ended(records_of(arrays.rows(slice(8)), 4), json.dumps(meta).encode()))
    with hs.HyperSequenceWriter(path, 4, mode="a") as writer:
        writer.extend(*map(of, arrays.rows(slice(8, 14))))
    opens_with(path, arrays, 4)
    assert hs.HyperSequenceFile(path).user_meta() == {"by": "the original"}


def test_written_over(tmp_path: Path) -> None:
    """mode='w' replaces the file and its meta; who has the old one open goes on reading it."""
    path = write(tmp_path / "a.hsq", numbered(9), 4, {"old": 1})
    path.chmod(0o640)
    with hs.HyperSequenceFile(path) as before:
        write(path, numbered(5, 100), 2)
        holds(before, numbered(9), 4)
        assert before.verify() == []
    opens_with(path, numbered(5, 100), 2)
    assert hs.HyperSequenceFile(path).user_meta() == {}
    assert path.stat().st_mode & 0o777 == 0o640


def test_path_kinds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Text, path objects, relative names and names in other scripts all do; a link is written through."""
    monkeypatch.chdir(tmp_path)
    opens_with(write("relative.hsq", numbered(5), 2), numbered(5), 2)
    opens_with(write("ünï 名.hsq", numbered(5), 2), numbered(5), 2)
    (tmp_path / "there").mkdir()
    (tmp_path / "link.hsq").symlink_to(tmp_path / "there" / "real.hsq")
    write(tmp_path / "link.hsq", numbered(5), 2)
    assert (tmp_path / "link.hsq").is_symlink()
    opens_with(str(tmp_path / "there" / "real.hsq"), numbered(5), 2)
    with hs.HyperSequenceFile("relative.hsq") as hsq:
        monkeypatch.chdir(tmp_path / "there")
        assert hsq.verify() == []


@st.composite
def jobs(draw: st.DrawFn) -> tuple[Arrays, int, list[Any], int]:
    """Return arrays, a batch size, and how to write them: lengths of pieces, each by a call and maybe with 'a'."""
    rows, size = draw(st.integers(0, 45)), draw(st.integers(1, 9))
    shapes = st.lists(st.integers(0, 3), max_size=3).map(tuple)
    fields = draw(st.lists(st.tuples(st.sampled_from(DTYPES), shapes), min_size=1, max_size=4))
    if all(0 in shape for _, shape in fields):
        fields.append(("<f4", ()))
    made = [values(dtype, (rows, *shape), i) for i, (dtype, shape) in enumerate(fields)]
    inputs = draw(st.integers(0, len(made)))
    pieces, left = [], rows
    while left:
        count = draw(st.integers(1, left))
        pieces.append((count, draw(st.sampled_from(["append", "extend", "flush", "again"]))))
        left -= count
    block = draw(st.sampled_from([1, 100, 3000, 2**20]))
    return Arrays(tuple(made[:inputs]), tuple(made[inputs:])), size, pieces, block


@given(job=jobs(), options=st.sampled_from(READING), data=st.data())
def test_law(tmp_path_factory: pytest.TempPathFactory, job: Any, options: Any, data: st.DataObject) -> None:
    """However rows are written, they are read as they are: by batch, by row, by any rebatch, by any view."""
    arrays, size, pieces, block = job
    path = tmp_path_factory.mktemp("law") / "a.hsq"
    with mock.patch("batchup.hypersequence.block.BLOCK", block):
        writer = hs.HyperSequenceWriter(path, size)
        done = 0
        for count, how in pieces:
            if how == "append":
                for i in range(done, done + count):
                    writer.append(*map(of, arrays.rows(i)))
            else:
                writer.extend(*map(of, arrays.rows(slice(done, done + count))))
            done += count
            if how == "flush":
                writer.flush()
            elif how == "again":
                writer.close()
                writer = hs.HyperSequenceWriter(path, mode="a")
        writer.close()
    assert beside(path) == set()
    with hs.HyperSequenceFile(path, **options) as hsq:
        assert hsq.verify() == []
        if not len(arrays):
            assert len(hsq) == 0
            return
        holds(hsq, arrays, size)
        other = data.draw(st.integers(1, 20))
        holds(hsq.rebatch(other), arrays, other)
        holds(hs.rebatch(hsq.rebatch(other), size), arrays, size)
        chosen = data.draw(st.lists(st.integers(0, len(hsq) - 1), max_size=5))
        view, batches = hs.HyperSequenceView(hsq, np.array(chosen, np.intp)), list(arrays.batches(size))
        same(list(view), [(of(batches[i].inputs), of(batches[i].outputs)) for i in chosen])
        rows = np.array(data.draw(st.lists(st.integers(0, len(arrays) - 1), max_size=60)), np.intp)
        start, stop = sorted(data.draw(st.tuples(*[st.integers(0, len(arrays))] * 2)))
        for column, array in zip(hsq.columns.values(), arrays.all, strict=True):
            same(column.gather(rows), array[rows])
            same(column.gather(slice(start, stop)), array[start:stop])
            same(column.view(slice(start, stop)), array[start:stop])
            same(column.fresh(rows), array[rows])
            out = np.empty((len(rows), *array.shape[1:]), array.dtype)
            assert column.gather(rows, out) is out
            same(out, array[rows])
            runs = np.sort(rows)
            same(column.gather(runs), array[runs])


def model_of(sequence: hs.HyperSequence) -> list[list[int]]:
    return [y.tolist() for _, y in sequence]


def split_model(model: list[Any], shares: list[float]) -> list[list[Any]] | None:
    """Return the parts as spec/02 describes them; None where they leave one empty."""
    sizes = [round(len(model) * share) for share in shares]
    if not sizes or min(sizes) < 1 or sum(sizes) >= len(model):
        return None
    parts, left = [], model
    for size in sizes:
        places = {int(place) for place in np.round(np.linspace(0, len(left) - 1, size))}
        parts.append([batch for i, batch in enumerate(left) if i in places])
        left = [batch for i, batch in enumerate(left) if i not in places]
    return [*parts, left]


STEPS = st.one_of(
    st.tuples(st.just("rebatch"), st.integers(1, 12)),
    st.tuples(st.just("shuffle"), st.integers(0, 99)),
    st.tuples(st.just("split"), st.lists(st.floats(0.05, 0.6), min_size=1, max_size=3), st.integers(0, 3)),
    st.tuples(st.just("view"), st.randoms(use_true_random=False)),
)


@given(rows=st.integers(1, 60), size=st.integers(1, 8), steps=st.lists(STEPS, max_size=6))
@example(rows=20, size=4, steps=[("shuffle", 3), ("rebatch", 7), ("shuffle", 5), ("rebatch", 2)])
def test_law_of_views(tmp_path_factory: pytest.TempPathFactory, rows: int, size: int, steps: list[Any]) -> None:
    """Shuffled, split, rebatched and viewed in any order, the rows stay what a list of lists says they are."""
    path = write(tmp_path_factory.mktemp("views") / "a.hsq", numbered(rows), size)
    with hs.HyperSequenceFile(path) as hsq:
        sequence: Any = hsq
        model = [list(range(i, min(rows, i + size))) for i in range(0, rows, size)]
        for step in steps:
            before, expected = sequence, model
            if step[0] == "rebatch":
                flat = [row for batch in model for row in batch]
                sequence = sequence.rebatch(step[1])
                expected = [flat[i : i + step[1]] for i in range(0, len(flat), step[1])]
                assert sequence.batch_size() == step[1]
            elif step[0] == "shuffle":
                sequence.shuffle(step[1])
                expected = model_of(sequence)
                assert sorted(expected) == sorted(model)
            elif step[0] == "split":
                parts = split_model(model, step[1])
                if parts is None:
                    with pytest.raises(ValueError, match="shares"):
                        sequence.split(*step[1])
                    continue
                found = sequence.split(*step[1])
                assert [model_of(part) for part in found] == parts
                sequence, expected = found[step[2] % len(found)], parts[step[2] % len(found)]
            else:
                chosen = [step[1].randrange(len(model)) for _ in range(step[1].randrange(1, len(model) + 1))]
                sequence, expected = hs.HyperSequenceView(sequence, chosen), [model[i] for i in chosen]
            assert model_of(sequence) == expected
            if sequence is not before:
                before.shuffle(1)  # the child keeps the order that it was made with
                assert model_of(sequence) == expected
            model = expected
            for (inputs, outputs), batch in zip(sequence, model, strict=True):
                same((inputs, outputs), tuple(x[batch] for x in numbered(rows).all))
        flat = [row for batch in model for row in batch]
        if sequence is not hsq:
            (batch,) = [*sequence.data_source().batch_iterator(len(flat))] or [(None, np.empty(0))]
            assert batch[1].tolist() == flat
            repacked = [b.tolist() for _, b in sequence.data_source().batch_iterator(5)]
            assert repacked == [flat[i : i + 5] for i in range(0, len(flat), 5)]
