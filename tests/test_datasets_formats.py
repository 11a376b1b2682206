"""The formats of the standard data sets: read as SciPy, NumPy and pickle read them; whatever is hostile is refused."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import pickle
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.io import loadmat, savemat

from batchup.datasets import archives, cifar, idx, matlab, pickles, stl, svhn, usps
from batchup.datasets.folder import Folder, NewFolder
from batchup.errors import BatchUpError, FileFormatError

from .archives import (
    cifar10_files,
    images,
    labels,
    mat,
    mnist_files,
    python2_pickle,
    stl_files,
    stl_members,
    tar_gz,
    usps_files,
)
from .archives import idx as as_idx


def saved(folder: Path, files: dict[str, bytes]) -> list[str]:
    """Write files; return their paths."""
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return [str(folder / name) for name in files]


def numbers_in(path: Any) -> dict[str, Any]:
    """Return all arrays of a MAT file, read in pieces of 7 numbers."""
    arrays = {}
    for matrix in matlab.matrices(str(path)):
        pieces = []
        while matrix.numbers.left:
            pieces.append(matrix.numbers.read(7))
        whole = np.concatenate([np.empty(0, matrix.dtype), *pieces])
        arrays[matrix.name] = whole.reshape(matrix.shape, order="F")
    return arrays


def converted(path: Any, folder: Path) -> None:
    """Convert a MAT file as SVHN does."""
    svhn._convert(str(path), NewFolder(str(folder / "made")), "train")


IDX_TROUBLES: dict[str, tuple[str, Callable[[bytes], bytes], str]] = {
    "other dimensions": ("images", lambda data: data[:3] + b"\4" + data[4:], "no IDX file of uint8 in 3 dimensions"),
    "other type": ("images", lambda data: data[:2] + b"\x0d" + data[3:], "no IDX file of uint8 in 3 dimensions"),
    "other pixels": ("images", lambda data: data[:8] + struct.pack(">II", 14, 56) + data[16:], "14 x 56 pixels"),
    "cut short": ("images", lambda data: data[:-1], "cut short: 1 more bytes are wanted"),
    "too long": ("images", lambda data: data + b"x", "goes on behind what its header says"),
    "no header": ("images", lambda data: data[:10], "cut short"),
    "nothing": ("images", lambda data: b"", "cut short"),
    "too many": ("images", lambda data: data[:4] + b"\xff\xff\xff\xff" + data[8:], "so small a file cannot hold"),
    "fewer labels": (
        "labels",
        lambda data: data[:4] + struct.pack(">I", 59) + data[8:-1],
        "has not as many images as",
    ),
    "labels too long": ("labels", lambda data: data + b"x", "goes on behind what its header says"),
}


@pytest.mark.parametrize("trouble", IDX_TROUBLES)
def test_idx_that_is_not_right(trouble: str, tmp_path: Path) -> None:
    """IDX files that are not what they should be are refused, and the message names the file."""
    which, change, told = IDX_TROUBLES[trouble]
    files, _ = mnist_files()
    name = f"train-{which}-idx{3 if which == 'images' else 1}-ubyte.gz"
    files[name] = gzip.compress(change(gzip.decompress(files[name])))
    with pytest.raises(FileFormatError, match=told) as caught:
        idx.convert(saved(tmp_path, files), str(tmp_path / "made"))
    assert name in str(caught.value)


@pytest.mark.parametrize(
    "change", [lambda data: data[:-9], lambda data: data[: len(data) // 2], lambda data: b"<html>"]
)
def test_gzip_that_is_not_right(change: Callable[[bytes], bytes], tmp_path: Path) -> None:
    """What is not compressed, or not all of it, is refused."""
    files, _ = mnist_files()
    files["train-images-idx3-ubyte.gz"] = change(files["train-images-idx3-ubyte.gz"])
    with pytest.raises(FileFormatError, match=r"train-images-idx3-ubyte\.gz is (cut short|not compressed)"):
        idx.convert(saved(tmp_path, files), str(tmp_path / "made"))


def test_idx_bomb(tmp_path: Path) -> None:
    """A file that decompresses to much more than its header says is left when that is seen."""
    files, _ = mnist_files()
    files["train-images-idx3-ubyte.gz"] = gzip.compress(
        gzip.decompress(files["train-images-idx3-ubyte.gz"]) + bytes(10**8)
    )
    with pytest.raises(FileFormatError, match="goes on behind what its header says"):
        idx.convert(saved(tmp_path, files), str(tmp_path / "made"))
    assert sum(os.path.getsize(path) for path in (tmp_path / "made").iterdir()) < 10**5


VARIED: dict[str, Any] = {
    "X": images(1, 4, 3, 2, 5),
    "floats": np.arange(12.0).reshape(3, 4),
    "singles": np.linspace(0, 1, 10, dtype=np.float32)[None],
    "whole": np.array([[1.0, 2.0, 300.0]]),  # which MATLAB would keep as int16
    "bytes": np.array([[1, 2, 3]], np.int8),
    "one": np.uint8([[7]]),
    "none": np.empty((0, 3)),
    "longs": np.array([[2**40, -(2**50)]]),
    "words": np.array([[1, 60_000]], np.uint16),
    "a_name_that_is_as_long_as_names_may_be": np.array([[-5]], np.int16),
}


@pytest.mark.parametrize("compressed", [True, False])
def test_mat_like_scipy(compressed: bool, tmp_path: Path) -> None:
    """Arrays of all kinds are those that SciPy reads; what holds no numbers is passed over."""
    others = {"text": "abc", "cells": np.array([1, "a"], object), "complex": np.array([[1 + 2j]]), "struct": {"a": 1}}
    savemat(tmp_path / "a.mat", {**VARIED, **others}, do_compression=compressed, long_field_names=True)
    theirs, ours = loadmat(tmp_path / "a.mat"), numbers_in(tmp_path / "a.mat")
    assert set(ours) == set(VARIED)
    for name, array in ours.items():
        np.testing.assert_array_equal(array, theirs[name])
        assert array.dtype == theirs[name].dtype


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shape=st.lists(st.integers(0, 4), min_size=2, max_size=4),
    dtype=st.sampled_from(["u1", "i1", "u2", "i2", "i4", "u4", "i8", "u8", "f4", "f8"]),
    compressed=st.booleans(),
)
def test_any_mat_like_scipy(shape: list[int], dtype: str, compressed: bool, tmp_path: Path) -> None:
    """Arrays of any shape and type are those that SciPy reads."""
    array = np.random.default_rng(1).integers(0, 100, shape).astype(dtype)
    savemat(tmp_path / "a.mat", {"x": array, "y": array[..., ::-1]}, do_compression=compressed)
    theirs, ours = loadmat(tmp_path / "a.mat"), numbers_in(tmp_path / "a.mat")
    for name in ("x", "y"):
        np.testing.assert_array_equal(ours[name], theirs[name])
        assert ours[name].dtype == theirs[name].dtype


def element(order: str, kind: int, data: bytes) -> bytes:
    """Return an element of a MAT file."""
    return struct.pack(order + "II", kind, len(data)) + data + bytes(-len(data) % 8)


def by_hand(order: str, shape: tuple[int, ...], stored: int, data: bytes, kind: int = 9, name: bytes = b"X") -> bytes:
    """Return a MAT file with one array, as another machine writes it."""
    header = (
        b"MATLAB 5.0 MAT-file, by hand".ljust(124) + struct.pack(order + "H", 0x100) + struct.pack(order + "H", 0x4D49)
    )
    inner = element(order, 6, struct.pack(order + "II", kind, 0))
    inner += element(order, 5, struct.pack(f"{order}{len(shape)}i", *shape)) + element(order, 1, name)
    return header + element(order, 14, inner + element(order, stored, data))


@pytest.mark.parametrize("order", ["<", ">"])
def test_mat_of_another_byte_order(order: str, tmp_path: Path) -> None:
    """Numbers are read in the byte order that the file says, and in the type that they are kept in."""
    (tmp_path / "a.mat").write_bytes(by_hand(order, (2, 3), 3, struct.pack(order + "6h", *range(6)), kind=6))
    arrays = numbers_in(tmp_path / "a.mat")
    assert arrays["X"].tolist() == [[0, 2, 4], [1, 3, 5]]
    assert arrays["X"].dtype == np.float64
    np.testing.assert_array_equal(loadmat(tmp_path / "a.mat")["X"], arrays["X"])


MAT_TROUBLES = {
    "nothing": (b"", "no MAT file of version 5"),
    "web page": (b"<!DOCTYPE html>" * 20, "no MAT file of version 5: it begins with b'<!DOCTYPE html>"),
    "version 7.3": (b"MATLAB 7.3 MAT-file".ljust(124) + b"\0\2IM", "no MAT file of version 5 .its data lie in HDF5"),
    "cut short": (mat(images(1, 9, 3, 32, 32), labels(1, 9), False)[:-100], "cut short: an element of"),
    "a cut tag": (mat(images(1, 9, 3, 32, 32), labels(1, 9)) + b"abc", "cut short: it ends within a tag"),
    "no arrays": (mat(images(1, 9, 3, 32, 32), labels(1, 9))[:128], "must have images X and as many labels y, has {}"),
    "other labels": (mat(images(1, 9, 3, 32, 32), labels(1, 8)), "must have images X and as many labels y"),
    "other shape": (
        mat(images(1, 9, 3, 32, 31), labels(1, 9)),
        r"X must be uint8 .32, 32, 3, n., is uint8 .32, 31, 3, 9.",
    ),
    "other type": (by_hand("<", (32, 32, 3, 1), 9, bytes(8 * 3072), 6), "X must be uint8 .*, is float64"),
    "lying shape": (by_hand("<", (32, 32, 3, 2), 2, bytes(3072)), "its array X of the shape .* has 3,072 bytes"),
    "negative shape": (by_hand("<", (-32, -32, 3, 1), 2, bytes(3072)), "its array X of the shape"),
    "unknown type": (by_hand("<", (32, 32, 3, 1), 99, bytes(3072)), "its array X of the shape"),
    "huge": (by_hand("<", (2**31 - 1, 2**31 - 1, 3, 1), 2, bytes(3072)), "its array X of the shape"),
    "long name": (by_hand("<", (1, 1), 2, b"1", name=b"x" * 100), "an element of type 1 has 100 bytes"),
}


@pytest.mark.parametrize("trouble", MAT_TROUBLES)
def test_mat_that_is_not_right(trouble: str, tmp_path: Path) -> None:
    """MAT files that are not what they should be are refused, and the message names the file."""
    data, told = MAT_TROUBLES[trouble]
    (tmp_path / "a.mat").write_bytes(data)
    with pytest.raises(FileFormatError, match=told) as caught:
        converted(tmp_path / "a.mat", tmp_path)
    assert str(tmp_path / "a.mat") in str(caught.value)


def test_mat_damaged_anywhere(tmp_path: Path) -> None:
    """Whatever byte is another one, either the error is clear or it made no difference to what is wanted."""
    data = mat(images(1, 2, 3, 32, 32), labels(1, 2))
    rng = np.random.default_rng(3)
    for number, place in enumerate([*range(124, 200), *rng.integers(200, len(data), 100)]):
        damaged = bytearray(data)
        damaged[place] ^= int(rng.integers(1, 256))
        (tmp_path / "a.mat").write_bytes(damaged)
        folder = tmp_path / str(number)
        folder.mkdir()
        try:
            converted(tmp_path / "a.mat", folder)
        except FileFormatError:
            continue
        except Exception as error:  # noqa: BLE001
            pytest.fail(f"byte {place}: {error!r}")


def test_mat_bomb(tmp_path: Path) -> None:
    """A compressed array that says it is larger than it can be is refused before any room is made."""
    inner = by_hand("<", (32, 32, 3, 10**6), 2, b"")[128:]
    inner = inner[:-8] + struct.pack("<II", 2, 3072 * 10**6)
    packed = zlib.compress(inner)
    file = by_hand("<", (1, 1), 2, b"1")[:128] + struct.pack("<II", 15, len(packed)) + packed
    (tmp_path / "a.mat").write_bytes(file)
    with pytest.raises(FileFormatError, match="is damaged: its array X of the shape"):
        converted(tmp_path / "a.mat", tmp_path)


def test_mat_in_bounded_memory(tmp_path: Path) -> None:
    """An array is converted piece by piece."""
    X = np.zeros((20_000, 3, 32, 32), np.uint8)  # 61 MB
    X[::100] = 7
    (tmp_path / "a.mat").write_bytes(mat(X, np.zeros(20_000, np.int32)))
    tracemalloc.start()
    try:
        converted(tmp_path / "a.mat", tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 45e6
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(Folder(str(tmp_path / "made")).array("train_X_u8"), X)


class Evil:
    def __reduce__(self) -> Any:
        return os.system, ("touch evil",)


PICKLE_TROUBLES = {
    "a function": (pickle.dumps(Evil(), 2), r"it wants posix\.system, and may hold arrays and plain containers only"),
    "eval": (b"cbuiltins\neval\n(S'1'\ntR.", r"it wants builtins\.eval"),
    "a class": (pickle.dumps(Path("/"), 2), "it wants pathlib"),
    "another one of NumPy": (b"cnumpy\nload\n(S'x'\ntR.", r"it wants numpy\.load"),
    "getattr": (b"c__builtin__\ngetattr\n.", r"it wants __builtin__\.getattr"),
    "objects": (pickle.dumps(np.array([1, "a"], object), 2), "it holds an array of object"),
    "records": (pickle.dumps(np.zeros(2, [("a", "i4")]), 2), "it holds an array of"),
    "persistent": (b"Px\n.", "it refers to something outside of it"),
    "another encoding": (
        b"c_codecs\nencode\n(X\x01\x00\x00\x00aX\x04\x00\x00\x00zliby\x94tR.".replace(b"y\x94", b""),
        "damaged|encoding",
    ),
    "a huge array": (b"cnumpy\nndarray\n(I1000000000000\ntR.", "without values"),
    "nothing": (b"", "is damaged, or no pickle"),
    "cut short": (python2_pickle({b"data": np.zeros(100)})[:-50], "is damaged, or no pickle"),
    "a web page": (b"<html></html>", "is damaged, or no pickle"),
}


@pytest.mark.parametrize("trouble", PICKLE_TROUBLES)
def test_pickles_that_are_refused(trouble: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pickles make arrays and plain containers; nothing else is called, and the message names the pickle."""
    monkeypatch.chdir(tmp_path)
    data, told = PICKLE_TROUBLES[trouble]
    with pytest.raises(FileFormatError, match=told) as caught:
        pickles.load(io.BytesIO(data), "data_batch_1")
    assert str(caught.value).startswith("data_batch_1")
    assert not (tmp_path / "evil").exists()


PLAIN: dict[Any, Any] = {
    "data": images(1, 5, 6),
    "floats": np.linspace(0, 1, 5),
    "big": np.arange(5, dtype=">i4"),
    "by column": np.asfortranarray(np.arange(6).reshape(2, 3)),
    "labels": [1, 2, 3],
    "names": ["a.png", "b.png"],
    "nested": {"a": (1, 2.5, None, True), "b": []},
}


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_pickles_of_python_3(protocol: int) -> None:
    """What Python 3 writes is read too, with text for bytes."""
    check_plain(pickles.load(io.BytesIO(pickle.dumps(PLAIN, protocol)), "a"))
    as_bytes = {key.encode(): value for key, value in PLAIN.items()}
    check_plain(pickles.load(io.BytesIO(pickle.dumps(as_bytes, protocol)), "a"))


def test_pickles_of_python_2() -> None:
    """What Python 2 wrote is read, with text for its strings; the types of NumPy stay what they are."""
    before = np.dtype("u1"), np.dtype("i4")
    as_bytes = {key.encode(): value for key, value in PLAIN.items() if key not in ("names", "nested")}
    data = python2_pickle(
        {**as_bytes, b"names": [b"a.png", b"b.png"], b"nested": {b"a": (1, 2.5, None, True), b"b": []}}
    )
    assert b"numpy.core.multiarray" in data
    assert b"_codecs" not in data
    check_plain(pickles.load(io.BytesIO(data), "a"))
    assert (np.dtype("u1"), np.dtype("i4")) == before
    assert pickles.load(io.BytesIO(python2_pickle([np.float32(2.5), b"x" * 1000])), "a") == [2.5, "x" * 1000]


def check_plain(value: Any) -> None:
    """Compare with `PLAIN`."""
    assert value.keys() == PLAIN.keys()
    for key, wanted in PLAIN.items():
        if isinstance(wanted, np.ndarray):
            np.testing.assert_array_equal(value[key], wanted)
            assert value[key].dtype == wanted.dtype
        else:
            assert value[key] == wanted


@settings(max_examples=200)
@given(st.binary(max_size=60), st.integers(0, 10_000), st.integers(0, 255))
def test_any_damaged_pickle(tail: bytes, place: int, value: int) -> None:
    """Whatever bytes come, there is a value or a clear error."""
    data = bytearray(python2_pickle({b"data": images(1, 2, 3), b"labels": [1, 2]}) + tail)
    data[place % len(data)] = value
    with contextlib.suppress(FileFormatError):
        pickles.load(io.BytesIO(bytes(data)), "a")


GOOD = {"top/a": b"abc", "top/b": b"defg"}
TAR_TROUBLES: dict[str, tuple[bytes, str]] = {
    "leads up": (tar_gz({"../evil": b"x", **GOOD}), r"has a member '\.\./evil', which leads out of its folder"),
    "leads up later": (tar_gz({**GOOD, "top/../../evil": b"x"}), "which leads out of its folder"),
    "from the root": (tar_gz({"/etc/evil": b"x", **GOOD}), "has a member '/etc/evil', which leads out"),
    "a link": (
        tar_gz(GOOD, **{"top/a": {"type": b"2", "linkname": "/etc/passwd", "size": 0}}),
        "top/a is no plain file",
    ),
    "a hard link": (
        tar_gz(GOOD, **{"top/a": {"type": b"1", "linkname": "top/b", "size": 0}}),
        "top/a is no plain file",
    ),
    "a device": (tar_gz(GOOD, **{"top/a": {"type": b"3", "size": 0}}), "top/a is no plain file"),
    "missing": (tar_gz({"top/a": b"abc"}), "has no member top/b"),
    "too large": (tar_gz({**GOOD, "top/a": b"x" * 2000}), "its member top/a has 2,000 bytes, more than it may have"),
    "a bomb beside": (
        tar_gz({"top/c": bytes(10**8), **GOOD}),
        r"has more than the .* bytes that it may have, decompressed",
    ),
    "twice": (tar_gz({**GOOD, "top/./a": b"abc"}), "has the member top/a twice"),
    "cut short": (tar_gz(GOOD)[:-20], "cut short"),
    "no tar": (gzip.compress(b"x" * 5000), "is damaged, or no tar file"),
    "no gzip": (b"<html>", "is not compressed with gzip"),
}


@pytest.mark.parametrize("trouble", TAR_TROUBLES)
def test_archives_that_are_refused(trouble: str, tmp_path: Path) -> None:
    """Archives with names or sizes that are not to be trusted are refused; nothing is ever extracted."""
    data, told = TAR_TROUBLES[trouble]
    (tmp_path / "a.tar.gz").write_bytes(data)
    found = archives.members(str(tmp_path / "a.tar.gz"), {"top/a": 1000, "top/b": 1000})
    with pytest.raises(FileFormatError, match=told):
        [file.read() for _, file, _ in found]
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar.gz"]


def test_archives(tmp_path: Path) -> None:
    """Members come in the order of the archive; what nobody wants is passed over."""
    (tmp_path / "a.tar.gz").write_bytes(tar_gz({"./top/b": b"defg", "other": b"x" * 10_000, "top/a": b"abc", "z": b""}))
    found = archives.members(str(tmp_path / "a.tar.gz"), {"top/a": 3, "top/b": 4})
    assert [(name, file.read(), size) for name, file, size in found] == [("top/b", b"defg", 4), ("top/a", b"abc", 3)]


@pytest.mark.parametrize(
    ("batch", "told"),
    [
        ([1], "must hold a dict, holds list"),
        ({b"data": [1]}, r"its images must be uint8 \(n, 3072\), are list"),
        ({b"data": np.zeros((2, 3072))}, "are float64"),
        ({b"data": np.zeros((2, 3), np.uint8)}, r"are uint8 \(2, 3\)"),
        ({b"data": np.zeros((2, 3072), np.uint8)}, "its labels must be 2 integers"),
        ({b"data": np.zeros((2, 3072), np.uint8), b"labels": [1]}, "its labels must be 2 integers"),
        ({b"data": np.zeros((2, 3072), np.uint8), b"labels": [1.5, 2.5]}, "its labels must be 2 integers"),
    ],
)
def test_batches_of_cifar_that_are_not_right(batch: Any, told: str) -> None:
    """Batches without images or labels are refused."""

    def read() -> None:
        loaded = cifar.loaded(io.BytesIO(python2_pickle(batch)), "data_batch_1")
        cifar.images_of(loaded, "data_batch_1")
        cifar.labels_of(loaded, "labels", "data_batch_1")

    with pytest.raises(FileFormatError, match=told):
        read()


def test_stl_that_is_not_right(tmp_path: Path) -> None:
    """Half an image is refused, and folds that are no numbers."""
    with pytest.raises(FileFormatError, match=r"train_X\.bin must hold whole images of 27648 bytes, has 100"):
        stl._convert_images("train_X.bin", io.BytesIO(bytes(100)), 100, NewFolder(str(tmp_path / "a")), "train_X_u8")
    with pytest.raises(FileFormatError, match=r"folds\.txt must hold numbers of images"):
        stl._folds("folds.txt", io.BytesIO(b"1 2 x\n"))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"train_y.bin": b"\1" * 39}, "has not as many labels as images to train"),
        ({"test_y.bin": b"\1" * 13}, "has not as many labels as images to test"),
        ({"fold_indices.txt": b"1 2 40\n"}, "has folds of images up to 40, and 40 images"),
        ({"fold_indices.txt": b"1 -2\n"}, "has folds of images"),
    ],
)
def test_stl_that_does_not_fit_together(change: dict[str, bytes], told: str, tmp_path: Path) -> None:
    """Labels and folds must be those of the images."""
    members = {**stl_members(stl_files()[1]), **change}
    (tmp_path / "a.tar.gz").write_bytes(tar_gz({f"stl10_binary/{name}": data for name, data in members.items()}))
    with pytest.raises(FileFormatError, match=told):
        stl.fetch_stl.__wrapped__([str(tmp_path / "a.tar.gz")], str(tmp_path / "made"))


def test_archives_that_are_cut_anywhere(tmp_path: Path) -> None:
    """Wherever an archive ends too early, inside the compressed data or not, the error is ours, and names it."""
    data = stl_files()[0]["stl10_binary.tar.gz"]
    plain = gzip.decompress(data)
    for number, place in enumerate(np.linspace(0, len(data) - 1, 25).astype(int)):
        (tmp_path / "a.tar.gz").write_bytes(data[:place])
        with pytest.raises(FileFormatError, match=r"a\.tar\.gz"):
            stl.fetch_stl.__wrapped__([str(tmp_path / "a.tar.gz")], str(tmp_path / f"made {number}"))
        (tmp_path / "a.tar.gz").write_bytes(gzip.compress(plain[: place * (len(plain) - 11_000) // len(data)], 1))
        with pytest.raises(FileFormatError, match=r"a\.tar\.gz"):
            stl.fetch_stl.__wrapped__([str(tmp_path / "a.tar.gz")], str(tmp_path / f"made too {number}"))


@pytest.mark.parametrize("trouble", ["other arrays", "no HDF5", "other shape", "a link", "elsewhere", "a group"])
def test_usps_that_is_not_right(trouble: str, tmp_path: Path) -> None:
    """Files with other arrays are refused."""
    import h5py

    path = tmp_path / "usps.h5"
    path.write_bytes(usps_files()[0]["usps.h5"])
    if trouble == "no HDF5":
        path.write_bytes(b"<html>")
    else:
        with h5py.File(path, "r+") as file:
            del file["usps/test_X"]
            if trouble == "other shape":
                file["usps/test_X"] = np.zeros((20, 16, 16), np.float32)
            elif trouble == "a link":
                file["usps/test_X"] = h5py.ExternalLink("elsewhere.h5", "x")
            elif trouble == "elsewhere":
                parts = [(str(tmp_path / "raw"), 0, 20 * 1024)]
                file.create_dataset("usps/test_X", (20, 1, 16, 16), np.float32, external=parts)
            elif trouble == "a group":
                file.create_group("usps/test_X")
    with pytest.raises(FileFormatError, match=r"usps\.h5"):
        usps.fetch_usps.__wrapped__([str(path)], str(tmp_path / "made"))


def test_arrays_in_a_folder(tmp_path: Path) -> None:
    """A folder of arrays that was tampered with is refused, with what to do."""
    folder = NewFolder(str(tmp_path / "made"))
    folder.array("x", np.arange(5))
    folder.text("names", ["a", "ä"])
    opened = Folder(str(tmp_path / "made"))
    assert opened.array("x").tolist() == [0, 1, 2, 3, 4]
    assert not opened.array("x").flags.writeable
    assert opened.text("names") == ["a", "ä"]
    with pytest.raises(FileFormatError, match=r"y\.npy is missing: remove .*made, and it will be made again"):
        opened.array("y")
    with pytest.raises(FileFormatError, match=r"y\.json is missing: remove"):
        opened.text("y")
    (tmp_path / "made" / "x.npy").write_bytes((tmp_path / "made" / "x.npy").read_bytes()[:-3])
    with pytest.raises(BatchUpError, match=r"x\.npy is damaged"):
        opened.array("x")


def test_the_tests_make_what_the_formats_are() -> None:
    """The small archives begin as the real ones do."""
    assert gzip.decompress(as_idx(images(1, 3, 28, 28)))[:4] == b"\0\0\x08\x03"
    assert stl_files()[0]["stl10_binary.tar.gz"][:2] == b"\x1f\x8b"
    assert cifar10_files()[0]["cifar-10-python.tar.gz"][:2] == b"\x1f\x8b"
    assert mat(images(1, 2, 3, 32, 32), labels(1, 2)).startswith(b"MATLAB 5.0 MAT-file")
    pickled = python2_pickle({b"data": np.zeros(3, np.uint8)})
    assert pickled.startswith(b"\x80\x02}")
    assert b"cnumpy.core.multiarray\n_reconstruct\n" in pickled
    assert b"U\x04data" in pickled
