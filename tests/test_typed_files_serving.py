"""Batches served from typed files: the form is kept, the samples are those of the file, for every getter."""

from __future__ import annotations

import pickle
from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchup import typed_files as h5m
from batchup.errors import InvalidTypeError, InvalidValueError

Pair = namedtuple("Pair", ["x", "y"])
COUNT = 23


@pytest.fixture
def file(tmp_path: Path) -> h5m.TypedFile:
    """Return a file with images, numbers, sounds of different lengths, texts; some sources lack some of them."""
    return filled(tmp_path / "a.h5")


def filled(path: Path) -> h5m.TypedFile:
    rng = np.random.default_rng(1)
    schema = {"image": h5m.Array(compression="gzip"), "sound": h5m.Array(), "free": h5m.VShape(h5m.Array())}
    cls = h5m.typedfile("File", schema)
    with cls(path, "w") as made:
        for number in range(COUNT):
            data = {"image": rng.integers(0, 255, (4, 3), np.uint8), "number": number, "text": f"text {number}"}
            data["free"] = np.full((number % 3 + 1, number % 2 + 1), number)
            made.add(f"{number}", data if number % 5 else {**data, "sound": np.arange(number + 1.0)})
    return cls(path)


def served(file: h5m.TypedFile, form: Any, **options: Any) -> Any:
    return file.serve(form, framework="numpy", **options)


def by_id(name: str) -> h5m.Input:
    return h5m.Input(name, h5m.GetId())


@pytest.mark.parametrize(
    "form",
    [
        {"x": by_id("image"), "y": by_id("number"), "kept": 5},
        (by_id("image"), by_id("number")),
        [by_id("image"), by_id("number")],
        Pair(by_id("image"), h5m.Target("number", h5m.GetId())),
        {"deep": [{"er": (by_id("image"),)}, by_id("number")]},
    ],
    ids=["dict", "tuple", "list", "namedtuple", "nested"],
)
def test_the_form_is_kept(file: h5m.TypedFile, form: Any) -> None:
    """Batches have the type and the keys of the form; what is no input stays; each id comes once."""

    def parts(batch: Any) -> tuple[Any, Any]:
        if isinstance(batch, dict):
            if "kept" in batch:
                assert batch["kept"] == 5
            return (batch["x"], batch["y"]) if "x" in batch else (batch["deep"][0]["er"][0], batch["deep"][1])
        return batch[0], batch[1]

    loader = served(file, form, batch_size=5, shuffle=3)
    assert len(loader) == 5
    for _ in range(2):
        seen: list[int] = []
        for batch in loader:
            assert type(batch) is type(form)
            images, numbers = parts(batch)
            for image, number in zip(images, numbers, strict=True):
                assert np.array_equal(image, file.image.get(str(number)))
                seen.append(int(number))
        assert sorted(seen) == list(range(COUNT))


def test_ids_that_lack_a_feature_are_not_counted(file: h5m.TypedFile) -> None:
    """An input by id has the sources that have one; arrays of different lengths come as a list."""
    batches = list(served(file, (by_id("sound"),), batch_size=2))
    assert [len(sound) for (batch,) in batches for sound in batch] == [1, 6, 11, 16, 21]
    (free,) = next(iter(served(file, (by_id("free"),), batch_size=4)))
    assert [array.shape for array in free] == [(1, 1), (2, 2), (3, 1), (1, 2)]


def test_texts_and_transforms(file: h5m.TypedFile) -> None:
    """Texts come as they are; a transform is given each sample, and shapes what is stacked."""
    form = {"text": by_id("text"), "mean": h5m.Input("image", h5m.GetId(), transform=np.mean)}
    batch = next(iter(served(file, form, batch_size=3)))
    assert batch["text"].tolist() == ["text 0", "text 1", "text 2"]
    assert batch["mean"].tolist() == [file.image.get(str(number)).mean() for number in range(3)]


def test_rows(file: h5m.TypedFile) -> None:
    """Without a getter, an item is a row of all arrays joined; an array may stand in the place of a feature."""
    rows = file.image[:]
    form = (h5m.Input("image"), h5m.Input(np.arange(1000) * 2))
    loader = served(file, form, batch_size=10, drop_last=True)
    assert len(loader) == 9
    for step, (batch, doubled) in enumerate(loader):
        assert np.array_equal(batch, rows[10 * step : 10 * step + 10])
        assert doubled.tolist() == list(range(20 * step, 20 * step + 20, 2))


@given(
    n=st.integers(1, 40),
    shifts=st.lists(st.integers(-5, 5), min_size=1, max_size=3),
    length=st.integers(1, 6),
    step=st.integers(1, 4),
)
@settings(max_examples=80)
def test_slices_agree_on_places(n: int, shifts: list[int], length: int, step: int) -> None:
    """Item `i` of every slice begins at the same place, `shift` behind it; all of it lies in the data, none is left."""
    data = np.arange(n)
    form = [h5m.Input(data, h5m.AsSlice(shift=shift, length=length, downsampling=step)) for shift in shifts]
    later = max(0, *(-shift for shift in shifts))
    places = [p for p in range(later, n, step) if all(p + shift + length <= n for shift in shifts)]
    file = h5m.in_mem(h5m.typedfile("Empty", {}))
    found = list(served(file, form, batch_size=3)) if places else []
    for slot, shift in enumerate(shifts):
        rows = [row.tolist() for batch in found for row in batch[slot]]
        assert rows == [list(range(place + shift, place + shift + length)) for place in places]


def test_slices_of_a_feature(file: h5m.TypedFile) -> None:
    """Slices are of all rows joined; along another axis, of each of them."""
    rows = file.image[:]
    down = h5m.Input("image", h5m.AsSlice(shift=1, length=6, downsampling=2))
    (batch,) = next(iter(served(file, (down,), batch_size=4)))
    assert np.array_equal(batch, [rows[1 + 2 * item : 7 + 2 * item] for item in range(4)])
    across = h5m.Input("image", h5m.AsSlice(dim=1, length=2))
    (batch,) = next(iter(served(file, (across,), batch_size=2)))
    assert np.array_equal(batch, [rows[:, 0:2], rows[:, 1:3]])


@pytest.mark.parametrize("center", [False, True])
def test_frames(center: bool) -> None:
    """Framed slices are overlapping frames, as many as were asked for; the ends are reflected if they are centred."""
    data = np.arange(100.0)
    getter = h5m.AsFramedSlice(length=4, frame_size=8, hop_length=2, center=center)
    file = h5m.in_mem(h5m.typedfile("Empty", {}))
    (batch,) = next(iter(served(file, (h5m.Input(data, getter),), batch_size=3)))
    assert batch.shape == (3, 4, 8)
    for item, frames in enumerate(batch):
        rows = data[item : item + getter.length]
        rows = np.pad(rows, 4, "reflect") if center else rows
        assert np.array_equal(frames, [rows[2 * hop : 2 * hop + 8] for hop in range(4)])
        assert np.array_equal(getter(data, item), frames)


class Backwards(h5m.Getter):
    """A getter of the user's."""

    def __call__(self, proxy: Any, item: int) -> Any:
        return np.array(proxy[len(proxy) - 1 - item])


def test_a_getter_of_ones_own(file: h5m.TypedFile) -> None:
    """It is asked for each sample."""
    (batch,) = next(iter(served(file, (h5m.Input("number", Backwards()),), batch_size=3)))
    assert batch.tolist() == [22, 21, 20]


def test_threads_state_and_the_next_epoch(file: h5m.TypedFile) -> None:
    """With threads the batches are the same; a state goes on where it was taken."""
    form = {"x": by_id("number")}
    alone, ahead = (served(file, form, batch_size=4, shuffle=7, num_workers=workers) for workers in (0, 2))
    for _ in range(2):
        assert [batch["x"].tolist() for batch in alone] == [batch["x"].tolist() for batch in ahead]
    batches = iter(alone)
    next(batches)
    state, rest = alone.state_dict(), [batch["x"].tolist() for batch in batches]
    again = served(file, form, batch_size=4, shuffle=7)
    again.load_state_dict(pickle.loads(pickle.dumps(state)))
    assert [batch["x"].tolist() for batch in again] == rest


def test_what_is_served_is_not_changed(file: h5m.TypedFile) -> None:
    """The inputs of the user's stay as they were, and can be used again."""
    part = h5m.Input("number", h5m.GetId())
    served(file, (part,))
    assert (part.data, part.getter.n) == ("number", None)


def test_targets_write(tmp_path: Path) -> None:
    """A setter writes behind an item, or before it."""
    file = h5m.typedfile("Out", {"y": h5m.Array()})(tmp_path / "out.h5", "w")
    file.add("all", {"y": np.zeros(10)})
    assert h5m.Target(file.y).set(2, np.ones(3)) == 3
    assert h5m.Target(file.y, setter=h5m.Setter(after_item=False)).set(9, np.full(2, 5.0)) == 2
    assert file.y[:].tolist() == [0, 0, 1, 1, 1, 0, 0, 5, 5, 0]
    with pytest.raises(InvalidValueError, match="does not fit before item 1"):
        h5m.Target(file.y, setter=h5m.Setter(after_item=False)).set(1, np.ones(2))


@pytest.mark.parametrize(
    ("act", "kind", "text"),
    [
        (lambda file: served(file, {"x": 5}), InvalidTypeError, "must hold Input"),
        (lambda file: served(file, (by_id("image"),), pin=3), InvalidTypeError, "takes no pin"),
        (lambda file: file.serve((by_id("image"),), framework="jax"), InvalidValueError, "'torch' or 'numpy'"),
        (lambda file: served(file, (by_id("nothing"),)), AttributeError, "has no 'nothing'"),
        (lambda file: served(file, (h5m.Input(np.arange(3), h5m.GetId()),)), InvalidTypeError, "a feature of a file"),
        (lambda file: h5m.Input(), InvalidValueError, "one of key="),
        (lambda file: h5m.Input("a", key="b"), InvalidValueError, "one of key="),
        (lambda file: h5m.Input("a", getter=3), InvalidTypeError, "must be a Getter"),
        (lambda file: h5m.AsSlice(length=0), InvalidValueError, "length must be"),
        (lambda file: h5m.AsFramedSlice(dim=1), InvalidValueError, "dim=0"),
        (lambda file: len(h5m.GetId()), InvalidValueError, "has no length before"),
    ],
)  # fmt: skip
def test_wrong_arguments(act: Any, kind: type[Exception], text: str, file: h5m.TypedFile) -> None:
    """What cannot be served is an error at the call, which says why."""
    with pytest.raises(kind, match=text):
        act(file)
