"""Folders of images: read in any order as Pillow has them, written as they are; what is no image is named."""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

import batchup
from batchup.errors import FileBusyError, FileFormatError, InvalidTypeError, InvalidValueError
from batchup.formats.checked import is_of
from batchup.formats.folders.images import ImagesTable, images_sink, read_images, write_images
from batchup.formats.folders.wav import wav_sink
from batchup.formats.known import IMAGES
from batchup.formats.many import Tables
from batchup.formats.registry import format_of
from batchup.formats.table import TEXT, Field, fields_of, objects, part_of

from .format_laws import interrupted, written
from .images import image_folder
from .kills import room_for

NAMES = ["b/2.png", "a/1.JPG", "b/10.bmp", "c/x y.tiff", "a/ü.webp"]
SHAPES = st.one_of(
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.tuples(st.integers(1, 4), st.integers(1, 4), st.sampled_from([1, 3, 4])),
)


@st.composite
def tables(draw: st.DrawFn) -> dict[str, Any]:
    """Return a block of images, maybe of different sizes, with labels or without."""
    rows, shape = draw(st.integers(0, 5)), draw(SHAPES)
    dtype = draw(st.sampled_from(["u1", "<u2", ">u2"])) if len(shape) == 2 else "u1"
    block: dict[str, Any] = {"image": draw(hnp.arrays(dtype, (rows, *shape)))}
    if rows and draw(st.booleans()):
        sides = draw(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4)), min_size=rows, max_size=rows))
        block["image"] = objects([draw(hnp.arrays(dtype, (*size, *shape[2:]))) for size in sides])
    if draw(st.booleans()):
        block["label"] = draw(hnp.arrays(draw(hnp.integer_dtypes() | hnp.unsigned_integer_dtypes()), rows))
    return block


@given(block=tables(), cut=st.integers(0, 5))
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, block: dict[str, Any], cut: int) -> None:
    """Images and labels are read as they were written: values, dtypes, shapes and order, in however many blocks."""
    path = str(tmp_path_factory.mktemp("images") / "a")
    fields, rows = fields_of(block), len(block["image"])
    with images_sink(path, fields, rows=rows, meta={"a": [1]}) as write:
        write(part_of(block, 0, cut))
        write(part_of(block, min(cut, rows), rows))
    table = ImagesTable(path)
    assert (table.fields, table.rows, table.meta["a"]) == (fields, rows, [1])
    for step in (1, 100):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("batchup.formats.columnar.block_rows", lambda fields, step=step: step)
            blocks = list(table.blocks())
        assert all(is_of(found[name], fields[name]) for found in blocks for name in fields)
        for name, values in block.items():
            read = [value for found in blocks for value in found[name]]
            assert len(read) == rows
            for value, expected in zip(read, values, strict=True):
                np.testing.assert_array_equal(value, expected)
    columns = table.columns()
    assert columns is not None
    order = np.arange(rows)[::-1]
    for name, values in block.items():
        for value, expected in zip(columns[name][order], values[order], strict=True):
            np.testing.assert_array_equal(value, expected)


def test_a_folder(tmp_path: Path) -> None:
    """Labels are the numbers of the sorted names of folders; rows are in the order of the paths, others passed over."""
    image_folder(tmp_path, NAMES)
    (tmp_path / "a/notes.txt").write_text("no image")
    (tmp_path / "a/.hidden.png").write_text("no image")
    table = ImagesTable(str(tmp_path), names=True, mode="L")
    assert table.fields == {
        "image": Field(np.dtype("u1"), table.fields["image"].shape),
        "label": Field(np.dtype("i8")),
        "path": Field(TEXT),
    }
    assert table.meta == {"labels": ["a", "b", "c"]}
    assert table.rows == 5
    columns = read_images(tmp_path, names=True, mode="L")
    assert columns["path"].tolist() == ["a/1.JPG", "a/ü.webp", "b/10.bmp", "b/2.png", "c/x y.tiff"]
    assert columns["label"].tolist() == [0, 0, 1, 1, 2]
    for row in (4, 0, 2):
        with Image.open(tmp_path / columns["path"][row]) as image:
            np.testing.assert_array_equal(columns["image"][row], np.asarray(image.convert("L")))
    assert columns["image"].shape == (5, 32, 32)
    assert read_images(tmp_path, columns=["label"], mode="L").keys() == {"label"}
    with pytest.raises(InvalidValueError, match=r"has no columns \['x'\]"):
        read_images(tmp_path, columns=["x"], mode="L")


def test_labels(tmp_path: Path) -> None:
    """Labels can be named, left out, and asked for; files in no folder of a label are told."""
    image_folder(tmp_path, ["b/1.png", "a/1.png"])
    assert "label" not in read_images(tmp_path, labels=False)
    assert read_images(tmp_path, labels=["b", "x", "a"])["label"].tolist() == [2, 0]
    assert "label" not in read_images(tmp_path / "a")
    assert read_images(tmp_path / "a/*.png", labels=True)["label"].tolist() == [0]
    assert read_images(tmp_path / "*/*.png")["label"].tolist() == [0, 1]
    assert read_images(tmp_path / "b/1.png", tmp_path / "a")["label"].tolist() == [1, 0]
    with pytest.raises(FileFormatError, match=r"labels= lacks the folders \['b'\]"):
        read_images(tmp_path, labels=["a"])
    with pytest.raises(InvalidTypeError, match="labels must be"):
        read_images(tmp_path, labels="ab")
    image_folder(tmp_path, ["0.png"])
    with pytest.raises(FileFormatError, match=r"0\.png does not lie in a folder that is a label"):
        read_images(tmp_path)


def test_modes_and_sizes(tmp_path: Path) -> None:
    """Each mode has its shape and dtype, which the headers tell; images are converted and resized as asked."""
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (4, 6, 4), np.uint8)
    cases: dict[str, tuple[Any, str]] = {
        "L": (colours[..., 0], "uint8 (4, 6)"),
        "RGB": (colours[..., :3], "uint8 (4, 6, 3)"),
        "RGBA": (colours, "uint8 (4, 6, 4)"),
        "I;16": (rng.integers(0, 2**16, (4, 6), np.uint16), "uint16 (4, 6)"),
    }
    for number, (mode, (pixels, shown)) in enumerate(cases.items()):
        path = tmp_path / f"{number}.png"
        Image.fromarray(pixels).save(path)
        table = ImagesTable(str(path))
        assert str(table.fields["image"]) == shown
        (block,) = table.blocks()
        np.testing.assert_array_equal(block["image"][0], pixels)
        assert str(ImagesTable(str(path), size=(3, 2)).fields["image"]) == shown.replace("4, 6", "2, 3")
        assert mode == "I;16" or read_images(path, mode="RGB", size=(3, 2))["image"].shape == (1, 2, 3, 3)
    Image.fromarray(colours[..., :3]).convert("P").save(tmp_path / "4.png")
    assert str(ImagesTable(str(tmp_path / "4.png")).fields["image"]) == "uint8 (4, 6, 3)"
    with pytest.raises(FileFormatError, match=r"1\.png is uint8 \(4, 6, 3\), and .*0\.png is uint8 \(4, 6\): convert"):
        read_images(tmp_path)
    assert read_images(tmp_path, mode="RGB")["image"].shape == (5, 4, 6, 3)
    for options in ({"mode": "rgb"}, {"size": (3,)}, {"size": (0, 3)}):
        with pytest.raises(InvalidValueError, match=next(iter(options))):
            read_images(tmp_path, **options)


def test_grey_of_more_bits(tmp_path: Path) -> None:
    """Grey of more than 8 bits is uint16, whatever the kind of file; what uint16 does not hold is an error."""
    grey = np.array([[1, 515], [1029, 65535]])
    head = b"P5\n2 2\n65535\n"
    (tmp_path / "0.pgm").write_bytes(head + grey.astype(">u2").tobytes())
    for number, dtype in enumerate(("<u2", ">u2", "i4"), 1):
        Image.fromarray(grey.astype(dtype)).save(tmp_path / f"{number}.tiff")
    Image.fromarray(grey.astype("u2")).save(tmp_path / "4.png")
    columns = read_images(tmp_path)
    assert columns["image"].dtype == np.uint16
    np.testing.assert_array_equal(columns["image"][:], [grey] * 5)
    assert read_images(tmp_path, size=(3, 1))["image"][:].shape == (5, 1, 3)
    np.testing.assert_array_equal(read_images(tmp_path, mode="F")["image"][:], np.array([grey] * 5, np.float32))
    np.testing.assert_array_equal(read_images(tmp_path, mode="L")["image"][:], [[[1, 255], [255, 255]]] * 5)
    (tmp_path / "0.pgm").write_bytes(b"P2\n2 1\n4095\n0 4095\n")
    assert read_images(tmp_path / "0.pgm")["image"][0].tolist() == [[0, 65535]]
    for wrong in (grey + 1, grey - 2):
        Image.fromarray(wrong.astype("i4")).save(tmp_path / "5.tiff")
        with pytest.raises(FileFormatError, match=r"5\.tiff has grey from -?\d+ to \d+, which uint16 does not hold"):
            read_images(tmp_path / "5.tiff")["image"][0]
        assert read_images(tmp_path / "5.tiff", mode="F")["image"][0].tolist() == wrong.tolist()
    Image.fromarray(grey.astype("f4") / 2).save(tmp_path / "5.tiff")
    np.testing.assert_array_equal(read_images(tmp_path / "5.tiff")["image"][0], grey.astype("f4") / 2)


def test_black_and_white(tmp_path: Path) -> None:
    """Images of one bit are grey, 0 and 255."""
    (tmp_path / "0.pgm").write_bytes(b"P1\n3 1\n0 1 1\n")
    Image.fromarray(np.array([[True, False, False]])).save(tmp_path / "1.png")
    images = read_images(tmp_path)["image"]
    assert (images.dtype, images[:].tolist()) == (np.uint8, [[[255, 0, 0]]] * 2)
    assert read_images(tmp_path, mode="RGB")["image"].shape == (2, 1, 3, 3)


def test_links_and_hidden_folders(tmp_path: Path) -> None:
    """Links to folders are followed, but not round and round; hidden folders are left out."""
    image_folder(tmp_path, ["mix/cat/0.png", "mix/.git/0.png", "real/1.png", "real/in/2.png"])
    (tmp_path / "mix/dog").symlink_to("../real")
    (tmp_path / "mix/cat/up").symlink_to("..")
    (tmp_path / "mix/cat/top").symlink_to("../..")
    (tmp_path / "real/in/back").symlink_to("..")
    (tmp_path / "real/in/cats").symlink_to("../../mix/cat")
    columns = read_images(tmp_path / "mix", names=True)
    assert columns["path"].tolist() == ["cat/0.png", "dog/1.png", "dog/in/2.png", "dog/in/cats/0.png"]
    table = ImagesTable(str(tmp_path / "mix"))
    assert table.meta == {"labels": ["cat", "cats", "dog", "in"]}
    assert format_of(tmp_path / "mix") == "images"


def test_links_to_nothing(tmp_path: Path) -> None:
    """A link to a file that is not there is named; it is left out if that is asked for."""
    image_folder(tmp_path, ["0.png"])
    (tmp_path / "1.png").symlink_to("none.png")
    with pytest.raises(FileFormatError, match=r"1\.png is a link to a file that is not there"):
        read_images(tmp_path)
    table = ImagesTable(str(tmp_path), on_error="skip")
    assert (table.rows, len(list(table.blocks())), len(table.problems)) == (1, 1, 1)


def test_all_damaged(tmp_path: Path) -> None:
    """Where no file can be read, that is told, with the first one."""
    for name in ("0.png", "1.png"):
        (tmp_path / name).write_text("no image")
    with pytest.raises(FileFormatError, match=r"all 2 of its images are damaged, the first: .*0\.png is no image"):
        read_images(tmp_path, on_error="skip")


def test_folders_without_rows(tmp_path: Path) -> None:
    """One that we have written is known by what is kept in it; another one is told to be empty."""
    written(images_sink, tmp_path / "a", {"image": Field(np.dtype("u1"), (2, 3))}, [])
    written(wav_sink, tmp_path / "b", {"sound": Field(np.dtype("i2"), (None,))}, [], rate=8000)
    assert (format_of(tmp_path / "a"), format_of(tmp_path / "b")) == ("images", "wav")
    (tmp_path / "c").mkdir()
    with pytest.raises(InvalidValueError, match=r"c: nothing that can be read lies in this folder"):
        format_of(tmp_path / "c")


def test_images_of_different_sizes(tmp_path: Path) -> None:
    """Their shape is not known, but for the channels; batches are arrays of images."""
    for n in (1, 2, 3):
        Image.fromarray(np.full((n, 5, 3), n, np.uint8)).save(tmp_path / f"{n}.png")
    table = ImagesTable(str(tmp_path))
    assert table.fields["image"] == Field(np.dtype("u1"), (None, 5, 3))
    Image.fromarray(np.full((4, 7, 3), 4, np.uint8)).save(tmp_path / "4.png")
    table = ImagesTable(str(tmp_path))
    assert table.fields["image"] == Field(np.dtype("u1"), (None, None, 3))
    batches = [batch["image"] for batch in table.data_source(names=["image"]).batch_iterator(batch_size=3, shuffle=1)]
    assert sorted(int(image[0, 0, 0]) for batch in batches for image in batch) == [1, 2, 3, 4]
    rows = batchup.Dataset({"image": read_images(tmp_path)["image"]})
    assert [row["image"].shape for row in rows] == [(1, 5, 3), (2, 5, 3), (3, 5, 3), (4, 7, 3)]
    joined = Tables(ImagesTable, [str(tmp_path / f"{n}.png") for n in (1, 1)]).columns()
    assert joined is not None
    assert joined["image"][[1, 0]].shape == (2, 1, 5, 3)


def test_pools(tmp_path: Path) -> None:
    """Columns can be pickled, outlive their table, and are read by many threads at once and by processes."""
    image_folder(tmp_path, [f"{n % 3}/{n}.png" for n in range(12)])
    with ImagesTable(str(tmp_path)) as table:
        columns = table.columns()
        source = table.data_source()
    assert columns is not None
    expected = columns["image"][:]
    again = pickle.loads(pickle.dumps(columns["image"]))
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda row: again[row], [*range(12)] * 4):
            assert found.tolist() in expected.tolist()
    with batchup.work_pool.WorkerProcessPool(1) as processes:
        batches = list(processes.parallel_data_source(source).batch_iterator(batch_size=5))
    np.testing.assert_array_equal(np.concatenate([batch["image"] for batch in batches]), expected)
    out = np.empty((2, 32, 32), np.uint8)
    assert again.gather(np.array([3, 0]), out=out) is out
    np.testing.assert_array_equal(out, expected[[3, 0]])


def test_what_is_no_image(tmp_path: Path) -> None:
    """A file that is none, or damaged, is named; it is left out if that is asked for. EPS is never run."""
    image_folder(tmp_path, ["0.png", "1.png", "2.png", "3.png"])
    (tmp_path / "1.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    with pytest.raises(FileFormatError, match=r"1\.png is no image of the kinds that are read: BMP, "):
        read_images(tmp_path)
    data = (tmp_path / "2.png").read_bytes()
    (tmp_path / "2.png").write_bytes(data[: len(data) // 2])
    table = ImagesTable(str(tmp_path), on_error="skip")
    assert [str(error).partition(" ")[0][-5:] for error in table.problems] == ["1.png"]
    (one, two) = (block["image"] for block in table.blocks())
    assert (len(one), len(two)) == (1, 1)
    assert "2.png is a damaged image" in str(table.problems[1])
    rows = read_images(tmp_path, on_error="skip")
    assert len(list(rows)) == len(list(rows)) == 2
    (tmp_path / "1.png").unlink()
    columns = read_images(tmp_path)
    assert columns["image"][[0, 2]].shape == (2, 32, 32)
    with pytest.raises(FileFormatError, match=r"2\.png is a damaged image"):
        columns["image"][1]
    with pytest.raises(FileFormatError, match=r"2\.png is a damaged image"):
        list(ImagesTable(str(tmp_path)).blocks())


def test_cut_short_anywhere(tmp_path: Path) -> None:
    """Of an image that is cut short nothing is raised but a FileFormatError."""
    path = tmp_path / "a"
    for kind in ("PNG", "JPEG", "TIFF", "GIF", "BMP", "WEBP", "PPM"):
        file = io.BytesIO()
        Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(file, kind)
        data = file.getvalue()
        for size in range(0, len(data), 1 + len(data) // 40):
            path.write_bytes(data[:size])
            try:
                assert read_images(path)["image"][0].shape == (40, 40, 3)
            except FileFormatError as error:
                assert str(path) in str(error)  # noqa: PT017


def test_too_many_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow's bound on pixels is told with the file."""
    image_folder(tmp_path, ["0.png"])
    for most in (100, 1000):  # more than twice as many are an error of Pillow's, others a warning
        monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", most)
        with pytest.raises(FileFormatError, match=r"0\.png has more pixels than Pillow takes for safe: set PIL.Image"):
            read_images(tmp_path)


def test_a_file_that_changes(tmp_path: Path) -> None:
    """An image of another size than its header had at first is an error."""
    image_folder(tmp_path, ["0.png", "1.png"])
    columns = read_images(tmp_path)
    image_folder(tmp_path, ["1.png"], size=16)
    with pytest.raises(FileFormatError, match=r"1\.png is uint8 \(16, 16\), and uint8 \(32, 32\) was expected"):
        columns["image"][:]


def test_nothing_there(tmp_path: Path) -> None:
    """What is not there is told, and a folder without images."""
    for path in (tmp_path / "none", tmp_path / "*.png"):
        with pytest.raises(FileNotFoundError):
            read_images(path)
    with pytest.raises(FileFormatError, match="has no images"):
        read_images(tmp_path)
    with pytest.raises(InvalidValueError, match="on_error"):
        ImagesTable(str(tmp_path), on_error="ignore")


def test_suffixes() -> None:
    """The suffixes that are registered are those that are found in folders."""
    import re

    assert all(re.search(ImagesTable.pattern, f"a{suffix}") for suffix in IMAGES)


def rows(count: int = 4) -> Iterator[dict[str, Any]]:
    return ({"x": np.full((2, 3), n, np.uint8), "y": n % 2} for n in range(count))


def test_names_of_labels(tmp_path: Path) -> None:
    """Labels keep their names and numbers, whatever the order of their folders, and those that have no rows."""
    path = tmp_path / "a"
    write_images(rows(), path, "x", "y", meta={"labels": ["dog", "ant", "cat"], "of": "x"})
    assert sorted(os.listdir(path)) == [".batchup.json", "ant", "dog"]
    table = ImagesTable(str(path))
    assert table.meta == {"labels": ["dog", "ant", "cat"], "of": "x"}
    columns = read_images(path)
    assert columns["label"].tolist() == [0, 1, 0, 1]
    assert columns["image"][:][:, 0, 0].tolist() == [0, 1, 2, 3]
    (path / ".batchup.json").unlink()
    columns = read_images(path)
    assert columns["label"].tolist() == [0, 0, 1, 1]
    assert columns["image"][:][:, 0, 0].tolist() == [1, 3, 0, 2]


def test_the_same_rows_are_the_same_bytes(tmp_path: Path) -> None:
    """What is written twice is the same."""
    for name in "ab":
        write_images(rows(), tmp_path / name, "x", "y")
    found = [
        {str(file.relative_to(tmp_path / name)): file.read_bytes() for file in (tmp_path / name).rglob("*.*")}
        for name in "ab"
    ]
    assert found[0] == found[1]
    assert len(found[0]) == 5


def test_folders_that_are_replaced(tmp_path: Path) -> None:
    """A folder that was written so is replaced; one with anything else in it is refused, and stays as it is."""
    path = tmp_path / "a"
    for count in (4, 2):
        write_images(rows(count), path, "x", "y")
        assert len(read_images(path)["image"]) == count
    for name in ("1/notes.txt", "1/7.png", "1/000000007.wav", "x/y/000000007.png"):
        (path / name).parent.mkdir(exist_ok=True, parents=True)
        (path / name).write_text("mine")
        with pytest.raises(InvalidValueError, match="has files in it that were not written so"):
            write_images(rows(), path, "x", "y")
        (path / name).unlink()
        assert len(read_images(path)["image"]) == 2
    (tmp_path / "b").mkdir()
    write_images(rows(), tmp_path / "b", "x", "y")
    (tmp_path / "c.partial").mkdir()
    (tmp_path / "c.partial" / "mine").write_text("")
    with pytest.raises(InvalidValueError, match=r"c\.partial has files in it"):
        write_images(rows(), tmp_path / "c", "x", "y")
    (tmp_path / "d").write_text("")
    with pytest.raises(NotADirectoryError):
        write_images(rows(), tmp_path / "d", "x", "y")
    assert sorted(os.listdir(tmp_path)) == ["a", "b", "c.partial", "d"]


def test_two_writers(tmp_path: Path) -> None:
    """A second writer is told that there is one; what a killed one has left is cleared away."""
    fields = {"image": Field(np.dtype("u1"), (2, 3))}
    path = tmp_path / "a"
    with images_sink(path, fields) as write:
        write({"image": np.zeros((2, 2, 3), np.uint8)})
        with pytest.raises(FileBusyError, match="another writer"):
            write_images([{"image": np.zeros((2, 3), np.uint8)}], path)
    assert len(read_images(path)["image"]) == 2
    os.rename(path, f"{path}.partial")
    write_images([{"image": np.zeros((2, 3), np.uint8)}], path)
    assert len(read_images(path)["image"]) == 1
    assert os.listdir(tmp_path) == ["a"]


def test_what_cannot_be_written(tmp_path: Path) -> None:
    """What cannot be held is refused before anything is made; what fails on the way leaves the old folder."""
    image = Field(np.dtype("u1"), (2, 3))
    refused: list[tuple[type[Exception], str, dict[str, Field], dict[str, Any]]] = [
        (InvalidTypeError, "needs a column of them, 'image', got .'x'.: image=", {"x": image}, {}),
        (InvalidTypeError, "column 'y' is int64: leave it out", {"image": image, "y": Field(np.dtype("i8"))}, {}),
        (InvalidTypeError, "column 'label' is str: make it an integer", {"image": image, "label": Field(TEXT)}, {}),
        *[
            (InvalidTypeError, "PNG files hold", {"image": Field(np.dtype(dtype), shape)}, {})
            for dtype, shape in [("f4", (2, 2)), ("u1", (2,)), ("u1", (2, 2, 2)), ("u2", (2, 2, 3)), ("u1", (0, 2))]
        ],
        *[
            (InvalidValueError, "meta: ", {"image": image}, {"meta": {"labels": labels}})
            for labels in (["a", "a"], "ab", [""], ["a/b"], [".."], [1])
        ],
    ]
    for kind, message, fields, options in refused:
        with pytest.raises(kind, match=message):
            written(images_sink, tmp_path / "a", fields, [], **options)
    assert os.listdir(tmp_path) == []
    path = tmp_path / "a"
    write_images(rows(), path, "x", "y")
    both = {"image": image, "label": Field(np.dtype("i8"))}
    good = {"image": np.zeros((2, 2, 3), np.uint8), "label": np.array([0, 5])}
    loose = {"image": objects([np.zeros((1, 2, 3), np.uint8), np.zeros((1, 2, 2), np.uint8)])}
    with pytest.raises(InvalidValueError, match=r"row 1: the label 5 has no name: meta has 2 of them"):
        written(images_sink, path, both, [good], meta={"labels": ["a", "b"]})
    with pytest.raises(InvalidValueError, match=r"row 1: PNG files hold .* got \(1, 2, 2\)"):
        written(images_sink, path, fields_of(loose), [loose])
    with pytest.raises(InvalidValueError, match="there were to be 3 rows, and there are 2"):
        written(images_sink, path, both, [good], rows=3)
    with pytest.raises(InvalidValueError, match="expected image"):
        written(images_sink, path, both, [good, {**good, "image": good["image"].astype(float)}])
    with pytest.raises(KeyboardInterrupt):
        written(images_sink, path, both, interrupted(good))
    big = np.random.default_rng(0).integers(0, 256, (200, 200), np.uint8)
    with room_for(10_000), pytest.raises(OSError, match=r"large|space"):
        write_images([{"image": big}], path)
    assert os.listdir(tmp_path) == ["a"]
    assert read_images(path)["image"][:][:, 0, 0].tolist() == [0, 1, 2, 3]


def test_damaged_manifest(tmp_path: Path) -> None:
    """What our writer says of a folder is checked; a file that is missing is noticed."""
    path = tmp_path / "a"
    write_images(rows(), path, "x", "y")
    manifest = path / ".batchup.json"
    text = manifest.read_text()
    for had, has in (
        ("{", ""),
        ('"rows": 4', '"rows": "x"'),
        ("'|u1'", "|O"),
        ('"meta"', '"meat"'),
        ('"1": 1', '"1": null'),
    ):
        manifest.write_text(text.replace(had, has, 1))
        with pytest.raises(FileFormatError, match=r"\.batchup\.json, which says what lies in the folder, is damaged"):
            read_images(path)
    manifest.write_text(text.replace("'<i8'", "'|i1'").replace('"1": 1', '"1": 1000'))
    with pytest.raises(FileFormatError, match="the column 'label' is told to be int8"):
        read_images(path)
    manifest.write_text(text)
    (path / "0" / "000000002.png").unlink()
    with pytest.raises(FileFormatError, match="has 3 images, and 4 were written"):
        read_images(path)
    assert len(list(read_images(path, on_error="skip"))) == 3
