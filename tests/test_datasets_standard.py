"""The standard data sets: what is in them, how they open, and what goes wrong on the way."""

from __future__ import annotations

import inspect
import json
import os
import pickle
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batchup import ArrayDataSource, WorkerProcessPool, batch_map_mean, coerce_data_source, config, loader
from batchup.columns import ChosenRows, ScaledArray
from batchup.datasets import fetching, manifest, mnist, stl, svhn
from batchup.datasets.catalog import STANDARD
from batchup.errors import ChecksumError, FetchError, FileFormatError, InvalidTypeError, InvalidValueError

from . import archives
from .archives import CASES, Case
from .hsq import ROOT
from .web import Server, page

every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
every_plain_case = pytest.mark.parametrize("name", [name for name in CASES if name not in ("svhn_extra", "stl")])


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have a place for data, and a mirror in a folder."""
    monkeypatch.setenv("BATCHUP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("BATCHUP_MIRROR", str(tmp_path / "mirror"))
    monkeypatch.setattr(fetching, "WAIT", 0.01)
    return tmp_path / "home" / "data"


@pytest.fixture
def laid_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., archives.Arrays]:
    """Have the small files of data sets at the mirror."""

    def lay_out(name: str, *samples: int) -> archives.Arrays:
        case = CASES[name]
        files, expected = case.files(*samples)
        archives.believed(case, files, monkeypatch)
        archives.laid_out(case, files, tmp_path / "mirror")
        return expected

    return lay_out


Laid = Callable[..., archives.Arrays]


def test_real_digests() -> None:
    """The digests of the real files are as they are published, each once."""
    digests = [source.sha256 for case in CASES.values() for source in case.sources]
    assert len(digests) == len(set(digests)) == 15
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in digests)
    first = {name: case.sources[0].sha256[:8] for name, case in CASES.items()}
    assert first == {
        "mnist": "440fcabf",
        "fashion_mnist": "3aede38d",
        "svhn": "435e94d6",
        "svhn_extra": "a133a4be",
        "cifar10": "6d958be0",
        "cifar100": "85cd44d0",
        "stl": "f31fd992",
        "usps": "ba768d9a",
    }
    for case in CASES.values():
        for source in case.sources:
            assert all(address.endswith(f"/{source.filename}") for address in source.addresses()[1:])
            assert source.addresses()[0] == f"{config.get_mirror()}/{case.folder}/{source.filename}"
    assert len(CASES["mnist"].sources[0].addresses()) == 3
    assert STANDARD.keys() == CASES.keys()


@every_plain_case
@pytest.mark.parametrize("n_val", [0, 7, 60])
def test_parts(name: str, n_val: int, laid_out: Laid) -> None:
    """Train and validation samples are cut as asked for; pixels are as in the files, images are scaled."""
    expected = laid_out(name)
    ds = CASES[name].opened(n_val=n_val)
    for attribute, value in archives.arrays_of(expected, n_val):
        came = getattr(ds, attribute)
        if isinstance(value, list):
            assert came == value
            continue
        np.testing.assert_array_equal(came, value)
        assert came.dtype == value.dtype
        writable = getattr(getattr(came, "flags", None), "writeable", False)
        assert writable == ("_y" in attribute)  # labels are in memory, and one's own
    for part in ("train", "val", "test"):
        X = getattr(ds, f"{part}_X")
        assert X.dtype == np.float32
        if name != "usps":
            pixels = getattr(ds, f"{part}_X_u8")
            np.testing.assert_array_equal(X, pixels.astype(np.float32) * np.float32(1 / 255))
    train = len(expected["train_y"]) - n_val
    arguments = f"n_val={n_val}" + ("" if name == "usps" else ", val_lower=0.0, val_upper=1.0")
    tests = len(expected["test_y"])
    assert repr(ds) == f"{type(ds).__name__}({arguments})  # {train} train, {n_val} val, {tests} test"
    assert len(ds.class_names) == (100 if name == "cifar100" else 10)


@every_plain_case
def test_no_validation(name: str, laid_out: Laid) -> None:
    """With None there are no validation samples either; empty arrays have the usual shapes."""
    laid_out(name)
    none, zero = CASES[name].opened(n_val=None), CASES[name].opened(n_val=0)
    assert none.val_X.shape == zero.val_X.shape == (0, *none.train_X.shape[1:])
    assert (none.val_X.dtype, none.val_y.dtype) == (np.float32, np.int32)
    assert [*none.val.batch_iterator(4)] == []


@every_plain_case
@pytest.mark.parametrize(
    ("n_val", "error", "told"),
    [
        (201, InvalidValueError, "n_val must be at most"),
        (-1, InvalidValueError, "n_val must be an integer of at least 0, got -1"),
        (2.5, InvalidValueError, "n_val must be an integer of at least 0, got 2.5"),
        ("7", InvalidTypeError, "n_val must be an integer, got '7'"),
    ],
)
def test_wrong_n_val(name: str, n_val: Any, error: type[Exception], told: str, laid_out: Laid) -> None:
    """A number of validation samples that cannot be is an error."""
    laid_out(name)
    with pytest.raises(error, match=told):
        CASES[name].opened(n_val=n_val)


def test_svhn_extra(laid_out: Laid) -> None:
    """The extra set is a set of its own, and a data source for whatever takes one."""
    expected = laid_out("svhn_extra")
    ds = svhn.SVHNExtra(val_lower=-1.0)
    np.testing.assert_array_equal(ds.X_u8, expected["X_u8"])
    np.testing.assert_array_equal(ds.y, expected["y"])
    assert (ds.X.shape, ds.X.dtype, ds.y.dtype) == ((40, 3, 32, 32), np.float32, np.int32)
    assert ds.X[:].min() == -1
    assert repr(ds) == "SVHNExtra(val_lower=-1.0, val_upper=1.0)  # 40 extra"
    assert isinstance(coerce_data_source(ds), ArrayDataSource)
    assert sum(len(y) for _, y in loader(ds, 16, shuffle=1)) == 40
    assert pickle.loads(pickle.dumps(ds)).val_lower == -1.0


@pytest.mark.parametrize("n_val_folds", [0, None, 1, 3, 10])
def test_stl(n_val_folds: int | None, laid_out: Laid) -> None:
    """The last folds are for validation, in their order, each image once; what is in none of them is to train on."""
    expected = laid_out("stl")
    ds = stl.STL(n_val_folds=n_val_folds)
    folds = expected["tr_folds"][len(expected["tr_folds"]) - (n_val_folds or 0) :]
    for_val = np.array(list(dict.fromkeys(np.concatenate([np.empty(0, np.int32), *folds]).tolist())), int)
    for_train = np.setdiff1d(np.arange(40), for_val)
    np.testing.assert_array_equal(ds.val_X_u8, expected["train_X_u8"][for_val])
    np.testing.assert_array_equal(ds.val_y, expected["train_y"][for_val])
    np.testing.assert_array_equal(ds.train_X_u8, expected["train_X_u8"][for_train])
    np.testing.assert_array_equal(ds.train_y, expected["train_y"][for_train])
    for name in ("test_X_u8", "test_y", "unl_X_u8"):
        np.testing.assert_array_equal(getattr(ds, name), expected[name])
    assert ds.class_names == archives.STL_NAMES
    assert [fold.tolist() for fold in ds.tr_folds] == [fold.tolist() for fold in expected["tr_folds"]]
    assert {fold.dtype for fold in ds.tr_folds} == {np.dtype(np.int32)}
    assert isinstance(ds.train_X_u8, ChosenRows if n_val_folds else np.ndarray)
    for X, y in ds.train.batch_iterator(16, shuffle=3):
        assert X.shape == (len(y), 3, 96, 96)
    (batch,) = next(ds.unl.batch_iterator(4))
    np.testing.assert_array_equal(batch, expected["unl_X_u8"][:4] * np.float32(1 / 255))
    with pytest.raises(InvalidValueError, match="n_val_folds must be at most 10, got 11"):
        stl.STL(n_val_folds=11)


@pytest.mark.parametrize("name", ["mnist", "stl"])
def test_scaled_otherwise(name: str, laid_out: Laid) -> None:
    """Pixels go from the lower to the upper value that was asked for."""
    laid_out(name)
    ds = CASES[name].opened(7, -1.0, 1.0)
    pixels = np.asarray(ds.train_X_u8)
    expected = pixels.astype(np.float32) * np.float32(2 / 255) + np.float32(-1)
    assert np.asarray(ds.train_X).tobytes() == expected.tobytes()
    with pytest.raises(InvalidValueError, match="must be finite"):
        CASES[name].opened(7, 0.0, np.nan)


def test_data_sources(laid_out: Laid) -> None:
    """The parts are data sources: in order, shuffled, on processes, for evaluation; the same one each time."""
    expected = laid_out("mnist")
    ds = mnist.MNIST(n_val=10)
    assert ds.train is ds.train
    scaled = expected["train_X_u8"][:50].astype(np.float32) * np.float32(1 / 255)
    X = np.concatenate([batch for batch, _ in ds.train.batch_iterator(16)])
    np.testing.assert_array_equal(X, scaled)
    order = np.concatenate([y for (y,) in ArrayDataSource([np.arange(50)]).batch_iterator(16, shuffle=3)])
    with WorkerProcessPool(2) as pool:
        for batches in (ds.train.batch_iterator(16, shuffle=3), loader(ds.train, 16, shuffle=3, pool=pool)):
            shuffled = [(X.copy(), y.copy()) for X, y in batches]
            np.testing.assert_array_equal(np.concatenate([X for X, _ in shuffled]), scaled[order])
            np.testing.assert_array_equal(np.concatenate([y for _, y in shuffled]), expected["train_y"][:50][order])
    (mean,) = batch_map_mean(lambda X, y: X.sum(), ds.test.batch_iterator(7), n_batches=3)
    np.testing.assert_allclose(mean, np.asarray(ds.test_X).sum() / 20, rtol=1e-4)


@every_case
def test_pickled(case: Case, laid_out: Laid) -> None:
    """A data set goes through pickle as what it is called with: its files are opened anew."""
    laid_out(case.name)
    ds = case.opened(**({} if case.name in ("stl", "svhn_extra") else {"n_val": 7}))
    data = pickle.dumps(ds)
    assert len(data) < 200
    assert repr(pickle.loads(data)) == repr(ds)


def kilobytes_read(path: Path) -> int:
    """Return how much of a file is in the memory that this process has mapped."""
    text = Path("/proc/self/smaps").read_text()
    return sum(map(int, re.findall(rf" {re.escape(str(path))}\n(?:\S+: .*\n)*?Rss: +(\d+) kB", text)))


@pytest.mark.skipif(not os.path.exists("/proc/self/smaps"), reason="this system does not tell what is in memory")
def test_opening_reads_no_pixels(laid_out: Laid, home: Path) -> None:
    """Opened again, nothing of the images is in memory before they are asked for."""
    laid_out("stl")
    stl.STL(n_val_folds=2)
    path = home / "stl" / "train_X_u8.npy"
    ds = stl.STL(n_val_folds=2)
    assert path.stat().st_size > 10**6
    assert kilobytes_read(path) <= 4
    ds.train_X[:]
    assert kilobytes_read(path) > 500


def test_opening_writes_nothing(laid_out: Laid, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is there opens without a lock, a network or a write: from a folder that is read-only, too."""
    laid_out("mnist")
    mnist.MNIST(n_val=7)
    before = {path: path.stat().st_mtime_ns for path in [home, *home.rglob("*")]}
    for name in ("open", "mkdir", "makedirs", "rename", "replace"):
        monkeypatch.setattr(os, name, lambda *_, **__: pytest.fail("nothing is to be written"))
    assert len(mnist.MNIST(n_val=7).train_y) == 53
    monkeypatch.undo()
    assert {path: path.stat().st_mtime_ns for path in [home, *home.rglob("*")]} == before


@pytest.mark.skipif(sys.platform != "linux", reason="a folder that nobody can write to is found on Linux only")
def test_read_only_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing can be written, the message says what to set."""
    monkeypatch.setenv("BATCHUP_HOME", "/sys/batchup")
    with pytest.raises(
        FetchError, match=r"mnist is not there, and cannot be put there: nothing can be written to .*BATCHUP_HOME"
    ):
        mnist.MNIST()


def test_first_time_without_network(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a network, the message says where to put which files; it takes no time."""
    monkeypatch.delenv("BATCHUP_MIRROR")
    monkeypatch.setenv("BATCHUP_OFFLINE", "1")
    with pytest.raises(FetchError) as caught:
        mnist.MNIST()
    told = str(caught.value)
    for source in mnist.SOURCES:
        assert f"{home}/temp/mnist/{source.filename}\n    from https://" in told
        assert f"sha256 {source.sha256}" in told
    assert (
        "storage.googleapis.com/cvdf-datasets/mnist/train-images-idx3-ubyte.gz: not asked, since BATCHUP_OFFLINE=1"
        in told
    )


def test_going_on_by_hand(home: Path, tmp_path: Path, laid_out: Laid, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that were put where the message said are taken, and removed when they have been converted."""
    expected = laid_out("mnist")
    monkeypatch.delenv("BATCHUP_MIRROR")
    monkeypatch.setenv("BATCHUP_OFFLINE", "1")
    with pytest.raises(FetchError) as caught:
        mnist.MNIST(n_val=7)
    for path in re.findall(r"^  (/\S+\.gz)$", str(caught.value), re.MULTILINE):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes((tmp_path / "mirror" / "mnist" / Path(path).name).read_bytes())
    np.testing.assert_array_equal(mnist.MNIST(n_val=7).test_y, expected["test_y"])
    assert [path.name for path in home.iterdir()] == ["mnist"]


def test_a_wrong_file(laid_out: Laid, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mirror that gives a web page is told with both digests, size and first bytes; another one may do."""
    laid_out("usps")
    files = {"usps/usps.h5": (tmp_path / "mirror" / "usps" / "usps.h5").read_bytes()}
    with Server(files).running() as server:
        server.behave(page)
        monkeypatch.setenv("BATCHUP_MIRROR", server.url)
        monkeypatch.setattr(CASES["usps"].sources[0], "url", [server.url + "elsewhere.h5"])
        with pytest.raises(
            FetchError, match=r"sha256 [0-9a-f]{64} instead of [0-9a-f]{64}, 57 bytes of text/html that begin"
        ):
            CASES["usps"].opened(n_val=7)
        assert (home / "temp" / "usps" / "usps.h5.rejected").read_bytes().startswith(b"<!DOCTYPE")
        server.behaviours.clear()
        CASES["usps"].opened(n_val=7)
    assert [path.name for path in home.iterdir()] == ["usps"]


def test_real_files_are_not_believed(laid_out: Laid, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the tests' own digests the small files are refused: digests are looked at."""
    laid_out("cifar10")
    monkeypatch.setattr(CASES["cifar10"].sources[0], "sha256", "6d958be0" + "0" * 56)
    monkeypatch.setattr(CASES["cifar10"].sources[0], "url", "/nowhere/cifar")
    with pytest.raises(FetchError, match="what came is not what is wanted"):
        CASES["cifar10"].opened()


def test_a_damaged_data_set(laid_out: Laid, home: Path) -> None:
    """A file that was cut short or changed later is told, by opening or by `verify`; removed, it is made again."""
    laid_out("mnist")
    mnist.MNIST(n_val=7)
    path = home / "mnist" / "train_X_u8.npy"
    assert manifest.verify(str(home / "mnist")) > 60 * 784
    good = path.read_bytes()
    path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    with pytest.raises(ChecksumError, match="is not what was written"):
        manifest.verify(str(home / "mnist"))
    path.write_bytes(good[:-5])
    with pytest.raises(
        FileFormatError, match=r"train_X_u8\.npy is damaged .*: remove .*mnist, and it will be made again"
    ):
        mnist.MNIST(n_val=7)
    path.unlink()
    with pytest.raises(FileFormatError, match=r"train_X_u8\.npy is missing: remove .*mnist, and it will be made again"):
        mnist.MNIST(n_val=7)
    mnist.delete_cache()
    assert list(home.iterdir()) == []
    assert len(mnist.MNIST(n_val=7).train_y) == 53


@every_case
def test_manifest(case: Case, laid_out: Laid, home: Path) -> None:
    """The manifest names all files, with sizes and digests, and what they were made of."""
    laid_out(case.name)
    path = Path(STANDARD[case.name].fetch())
    made = json.loads((path / "manifest.json").read_text())
    assert made["files"].keys() == {file.name for file in path.iterdir()} - {"manifest.json"}
    assert {source["name"]: source["sha256"] for source in made["sources"]} == {
        source.filename: source.sha256 for source in case.sources
    }
    manifest.verify(str(path))


PROGRAM = """
import sys
from tests import archives
import pytest
name = sys.argv[1]
case = archives.CASES[name]
patch = pytest.MonkeyPatch()
archives.believed(case, case.files(600)[0], patch)
ds = case.opened(n_val=7)
print(len(ds.train_y), int(ds.train_y.sum()), float(ds.train_X[:].sum()))
"""


@pytest.fixture
def programs(laid_out: Laid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Any]]:
    """Have programs that open MNIST, from a server."""
    laid_out("mnist", 600)
    files = {f"mnist/{path.name}": path.read_bytes() for path in (tmp_path / "mirror" / "mnist").iterdir()}
    with Server(files).running() as server:
        environment = {**os.environ, "BATCHUP_MIRROR": server.url, "PYTHONPATH": str(ROOT)}

        def start() -> Any:
            command = [sys.executable, "-W", "error", "-c", PROGRAM, "mnist"]
            return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

        start.server = server  # type: ignore[attr-defined]
        yield start


def test_two_programs_at_once(programs: Any, home: Path) -> None:
    """Of several programs that start at once one fetches each file, and all open the same."""
    running = [programs() for _ in range(3)]
    told = [process.communicate(timeout=60) for process in running]
    assert [process.returncode for process in running] == [0] * 3, told
    assert len({output for output, _ in told}) == 1
    assert len(programs.server.requests) == 4
    assert [path.name for path in home.iterdir()] == ["mnist"]


def test_killed_and_interrupted(programs: Any, home: Path) -> None:
    """A program that is killed or interrupted while it fetches leaves what came; the next one goes on."""

    def slowly(handler: Any, data: bytes) -> bool:
        handler.answer(data, most=200_000)
        handler.ended.wait(60)
        return False

    programs.server.behave(slowly, "mnist/train-images", times=2)  # of whose bytes whole pieces are read
    for number, sent in enumerate((signal.SIGKILL, signal.SIGINT)):
        process = programs()
        until = time.monotonic() + 60
        partial = home / "temp" / "mnist" / "train-images-idx3-ubyte.gz.partial"
        while len(programs.server.requests) <= number or not partial.exists() or not partial.stat().st_size:
            assert time.monotonic() < until
            time.sleep(0.02)
        time.sleep(0.3)
        process.send_signal(sent)
        _, errors = process.communicate(timeout=60)
        assert process.returncode != 0
        assert sent == signal.SIGKILL or "KeyboardInterrupt" in errors
        assert partial.stat().st_size == (number + 1) * 2**17
    process = programs()
    assert process.wait(60) == 0, process.stderr.read()
    process.stdout.close()
    process.stderr.close()
    ranges = [request.range for request in programs.server.requests if "train-images" in request.path]
    assert ranges == [None, "bytes=131072-", "bytes=262144-"]


def test_types_of_columns(laid_out: Laid) -> None:
    """Images are scaled lazily, over memory-mapped files."""
    laid_out("mnist")
    ds = mnist.MNIST(n_val=7)
    assert isinstance(ds.train_X, ScaledArray)
    base = ds.train_X_u8
    while isinstance(base.base, np.ndarray):
        base = base.base
    assert isinstance(base, np.memmap)


@every_case
def test_removed(case: Case, laid_out: Laid, home: Path) -> None:
    """Each module removes what it has fetched."""
    laid_out(case.name)
    STANDARD[case.name].fetch()
    module = sys.modules[case.opened.__module__]
    module.delete_cache()
    assert list(home.iterdir()) == []
    module.delete_cache()


def test_used_like_arrays(laid_out: Laid) -> None:
    """Where 0.2 gave arrays, operators and methods of arrays work, on all of them."""
    expected = laid_out("stl")
    ds = stl.STL(n_val_folds=1)
    pixels = np.asarray(ds.train_X_u8)
    np.testing.assert_array_equal(ds.train_X_u8 / 255.0, pixels / 255.0)
    np.testing.assert_array_equal(255 - ds.train_X_u8, 255 - pixels)
    assert ds.train_X_u8.mean() == pixels.mean()
    assert ds.train_X.astype(np.float16).dtype == np.float16
    assert ds.train_X_u8.reshape(-1, 3 * 96 * 96).shape == (32, 27648)
    assert np.concatenate([ds.train_X_u8, ds.val_X_u8]).shape == expected["train_X_u8"].shape
    with pytest.raises(ValueError, match="read-only"):
        ds.train_X_u8.fill(0)
    with pytest.raises(AttributeError, match="'ChosenRows' object has no attribute 'nonsense'"):
        ds.train_X_u8.nonsense  # noqa: B018


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"n_val": -1}, "n_val must be an integer of at least 0"),
        ({"n_val": "x"}, "n_val must be an integer"),
        ({"val_lower": np.nan}, "must be finite as float32"),
        ({"val_upper": 1e39}, "must be finite as float32"),
        ({"val_lower": -3e38, "val_upper": 3e38}, "must be finite as float32"),
        ({"val_upper": "1"}, "the limits of pixels must be numbers, got '1'"),
        ({"val_lower": None}, "the limits of pixels must be numbers, got None"),
    ],
    ids=repr,
)
@every_case
def test_wrong_arguments_cost_nothing(
    case: Case, wrong: dict[str, Any], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Arguments that cannot be right are errors before anything is fetched."""
    monkeypatch.setenv("BATCHUP_OFFLINE", "1")
    renamed = {"n_val_folds" if name == "n_val" and case.name == "stl" else name: wrong[name] for name in wrong}
    if renamed.keys() <= set(inspect.signature(case.opened).parameters):
        with pytest.raises((ValueError, TypeError), match=told.replace("n_val", next(iter(renamed)))):
            case.opened(**renamed)


def test_labels_and_images_that_differ(laid_out: Laid, home: Path) -> None:
    """Files of different lengths, of two versions say, are not opened."""
    laid_out("mnist")
    mnist.MNIST(n_val=7)
    np.save(home / "mnist" / "train_y.npy", np.zeros(59, np.int32))
    with pytest.raises(FileFormatError, match=r"has 60 images and 59 train_y: remove .*mnist"):
        mnist.MNIST(n_val=7)
