"""Small archives in exactly the formats of the standard data sets, and what is in them."""

from __future__ import annotations

import gzip
import hashlib
import io
import pickle
import struct
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.io import savemat

from batchup.datasets import cifar10, cifar100, fashion_mnist, mnist, stl, svhn, usps

Arrays = dict[str, Any]

COARSE, FINE = [f"group {i}" for i in range(20)], [f"kind {i}" for i in range(100)]
STL_NAMES = ["airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck"]


def images(seed: int, *shape: int) -> NDArray[np.uint8]:
    """Return pixels, no two images alike."""
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def labels(seed: int, count: int, classes: int = 10) -> NDArray[np.int32]:
    """Return labels, of all classes if there are so many."""
    return np.random.default_rng(seed).permutation(np.arange(count, dtype=np.int32) % classes)


def idx(array: NDArray[np.uint8]) -> bytes:
    """Return an array as an IDX file, compressed."""
    header = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
    return gzip.compress(header + array.tobytes(), 1, mtime=0)


class Python2Pickler(pickle._Pickler):  # type: ignore[name-defined,misc]
    """Writes as Python 2 did with protocol 2: bytes are its strings, and there is no module of NumPy 2."""

    dispatch: ClassVar[dict[Any, Any]] = dict(pickle._Pickler.dispatch)  # type: ignore[attr-defined]

    def save_string(self, value: bytes) -> None:
        if len(value) < 256:
            self.write(pickle.SHORT_BINSTRING + bytes([len(value)]) + value)
        else:
            self.write(pickle.BINSTRING + struct.pack("<i", len(value)) + value)
        self.memoize(value)

    dispatch[bytes] = save_string

    def save_global(self, value: Any, name: str | None = None) -> None:
        module = value.__module__.replace("numpy._core", "numpy.core")
        self.write(pickle.GLOBAL + f"{module}\n{name or value.__name__}\n".encode())
        self.memoize(value)

    for kind in (type, type(pickle.dumps), type(lambda: None)):
        dispatch[kind] = save_global


def python2_pickle(value: Any) -> bytes:
    """Return a pickle as Python 2 made it."""
    file = io.BytesIO()
    Python2Pickler(file, 2).dump(value)
    return file.getvalue()


def tar_gz(members: dict[str, bytes], **changes: dict[str, Any]) -> bytes:
    """Return an archive; `changes` are attributes of members by name."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz", compresslevel=1) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            for key, value in changes.get(name, {}).items():
                setattr(info, key, value)
            archive.addfile(info, io.BytesIO(data) if info.isreg() else None)
    return file.getvalue()


def mnist_files(n: int = 60) -> tuple[dict[str, bytes], Arrays]:
    """Return the four files of MNIST, and its arrays."""
    expected = {
        "train_X_u8": images(1, n, 1, 28, 28),
        "train_y": labels(2, n),
        "test_X_u8": images(3, 20, 1, 28, 28),
        "test_y": labels(4, 20),
    }
    files = {
        "train-images-idx3-ubyte.gz": idx(expected["train_X_u8"][:, 0]),
        "train-labels-idx1-ubyte.gz": idx(expected["train_y"].astype(np.uint8)),
        "t10k-images-idx3-ubyte.gz": idx(expected["test_X_u8"][:, 0]),
        "t10k-labels-idx1-ubyte.gz": idx(expected["test_y"].astype(np.uint8)),
    }
    return files, expected


def mat(X: NDArray[np.uint8], y: NDArray[np.int32], compressed: bool = True, **more: Any) -> bytes:
    """Return images and digits as a MAT file of SVHN."""
    file = io.BytesIO()
    digits = np.where(y == 0, 10, y).astype(np.uint8)[:, None]
    savemat(file, {"X": X.transpose(2, 3, 1, 0), "y": digits, **more}, do_compression=compressed)
    return file.getvalue()


def svhn_files(n: int = 60, compressed: bool = True) -> tuple[dict[str, bytes], Arrays]:
    """Return the files of SVHN, and its arrays."""
    expected = {
        "train_X_u8": images(5, n, 3, 32, 32),
        "train_y": labels(6, n),
        "test_X_u8": images(7, 20, 3, 32, 32),
        "test_y": labels(8, 20),
    }
    files = {
        f"{part}_32x32.mat": mat(expected[f"{part}_X_u8"], expected[f"{part}_y"], compressed)
        for part in ("train", "test")
    }
    return files, expected


def svhn_extra_files(n: int = 40) -> tuple[dict[str, bytes], Arrays]:
    """Return the file of the extra digits of SVHN, and its arrays."""
    expected = {"X_u8": images(9, n, 3, 32, 32), "y": labels(10, n)}
    return {"extra_32x32.mat": mat(expected["X_u8"], expected["y"])}, expected


def cifar_batch(X: NDArray[np.uint8], **keys: NDArray[np.int32]) -> bytes:
    """Return a pickle with images and labels."""
    batch: dict[bytes, Any] = {b"data": X.reshape(len(X), -1), b"batch_label": b"batch 1 of 5"}
    batch.update({key.encode(): value.tolist() for key, value in keys.items()})
    batch[b"filenames"] = [b"%d.png" % i for i in range(len(X))]
    return python2_pickle(batch)


def cifar10_files(n: int = 60) -> tuple[dict[str, bytes], Arrays]:
    """Return the archive of CIFAR-10, and its arrays."""
    expected = {
        "train_X_u8": images(11, n, 3, 32, 32),
        "train_y": labels(12, n),
        "test_X_u8": images(13, 20, 3, 32, 32),
        "test_y": labels(14, 20),
    }
    X, y = np.array_split(expected["train_X_u8"], 5), np.array_split(expected["train_y"], 5)
    top = "cifar-10-batches-py"
    members = {
        f"{top}/data_batch_4": cifar_batch(X[3], labels=y[3]),
        f"{top}/readme.html": b"<html>CIFAR</html>",
        f"{top}/test_batch": cifar_batch(expected["test_X_u8"], labels=expected["test_y"]),
        f"{top}/batches.meta": python2_pickle({b"label_names": [b"airplane"]}),
        **{f"{top}/data_batch_{i + 1}": cifar_batch(X[i], labels=y[i]) for i in (4, 1, 2, 0)},
    }
    return {"cifar-10-python.tar.gz": tar_gz(members)}, expected


def cifar100_files(n: int = 200) -> tuple[dict[str, bytes], Arrays]:
    """Return the archive of CIFAR-100, and its arrays."""
    expected: Arrays = {"class_names": FINE, "class_names_coarse": COARSE}
    members = {
        "cifar-100-python/meta": python2_pickle(
            {b"fine_label_names": [x.encode() for x in FINE], b"coarse_label_names": [x.encode() for x in COARSE]}
        )
    }
    for part, count in (("train", n), ("test", 100)):
        X, fine = images(15 + count, count, 3, 32, 32), labels(16, count, 100)
        expected |= {f"{part}_X_u8": X, f"{part}_y": fine, f"{part}_y_coarse": fine // 5}
        members[f"cifar-100-python/{part}"] = cifar_batch(X, fine_labels=fine, coarse_labels=fine // 5)
    return {"cifar-100-python.tar.gz": tar_gz(members)}, expected


def stl_files(n: int = 40, overlap: bool = True) -> tuple[dict[str, bytes], Arrays]:
    """Return the archive of STL-10, and its arrays; the folds overlap, as those of the real one do, or not."""
    rng = np.random.default_rng(17)
    order = rng.permutation(n).astype(np.int32)
    folds = [rng.permutation(order)[: n // 5] for _ in range(10)] if overlap else np.array_split(order, 10)
    expected: Arrays = {
        "train_X_u8": images(18, n, 3, 96, 96),
        "train_y": labels(19, n),
        "test_X_u8": images(20, 12, 3, 96, 96),
        "test_y": labels(21, 12),
        "unl_X_u8": images(22, 30, 3, 96, 96),
        "class_names": STL_NAMES,
        "tr_folds": [np.sort(fold) for fold in folds],
    }
    members = {"stl10_binary/" + name: data for name, data in stl_members(expected).items()}
    return {"stl10_binary.tar.gz": tar_gz(members)}, expected


def stl_members(expected: Arrays) -> dict[str, bytes]:
    """Return the members of the archive of STL-10."""
    by_column = {
        name: expected[name].transpose(0, 1, 3, 2).tobytes() for name in ("train_X_u8", "test_X_u8", "unl_X_u8")
    }
    return {
        "test_X.bin": by_column["test_X_u8"],
        "test_y.bin": (expected["test_y"] + 1).astype(np.uint8).tobytes(),
        "train_X.bin": by_column["train_X_u8"],
        "train_y.bin": (expected["train_y"] + 1).astype(np.uint8).tobytes(),
        "unlabeled_X.bin": by_column["unl_X_u8"],
        "class_names.txt": "".join(f"{name}\n" for name in STL_NAMES).encode(),
        "fold_indices.txt": "".join(" ".join(map(str, fold)) + "\n" for fold in expected["tr_folds"]).encode(),
    }


def usps_files(n: int = 60) -> tuple[dict[str, bytes], Arrays]:
    """Return the file of USPS, and its arrays."""
    rng = np.random.default_rng(23)
    expected = {
        "train_X": rng.random((n, 1, 16, 16), np.float32),
        "train_y": labels(24, n),
        "test_X": rng.random((20, 1, 16, 16), np.float32),
        "test_y": labels(25, 20),
    }
    memory = io.BytesIO()
    with h5py.File(memory, "w") as file:
        for name, array in expected.items():
            file[f"usps/{name}"] = array
    return {"usps.h5": memory.getvalue()}, expected


class Case(NamedTuple):
    """A standard data set: its files as small ones, and how it is opened."""

    name: str
    sources: list[Any]
    files: Callable[..., tuple[dict[str, bytes], Arrays]]
    opened: Callable[..., Any]

    @property
    def folder(self) -> str:
        """How a mirror calls its folder."""
        return str(self.sources[0].folder)


CASES = {
    case.name: case
    for case in (
        Case("mnist", mnist.SOURCES, mnist_files, mnist.MNIST),
        Case("fashion_mnist", fashion_mnist.SOURCES, mnist_files, fashion_mnist.FashionMNIST),
        Case("svhn", svhn.SOURCES, svhn_files, svhn.SVHN),
        Case("svhn_extra", svhn.EXTRA_SOURCES, svhn_extra_files, svhn.SVHNExtra),
        Case("cifar10", cifar10.SOURCES, cifar10_files, cifar10.CIFAR10),
        Case("cifar100", cifar100.SOURCES, cifar100_files, cifar100.CIFAR100),
        Case("stl", stl.SOURCES, stl_files, stl.STL),
        Case("usps", usps.SOURCES, usps_files, usps.USPS),
    )
}


def believed(case: Case, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the digests of small files be the right ones."""
    for source in case.sources:
        monkeypatch.setattr(source, "sha256", hashlib.sha256(files[source.filename]).hexdigest())


def laid_out(case: Case, files: dict[str, bytes], top: Path) -> Path:
    """Lay the files of a data set out as a mirror has them; return its top."""
    folder = top / case.folder
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return top


def arrays_of(expected: Arrays, n_val: int) -> Iterator[tuple[str, Any]]:
    """Yield the attributes that a data set with the last `n_val` samples for validation has."""
    for name, value in expected.items():
        if name.startswith("train_"):
            yield name, value[: len(value) - n_val]
            yield name.replace("train_", "val_"), value[len(value) - n_val :]
        else:
            yield name, value
