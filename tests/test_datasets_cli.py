"""`batchup datasets`: list, fetch, path, verify, remove and show."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from batchup import cli
from batchup.datasets import fetching, mnist
from batchup.datasets.sheet import write_sheet
from batchup.errors import InvalidValueError, MissingExtraError

from . import archives
from .archives import CASES


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have a place for data, and some data sets at a mirror."""
    monkeypatch.setenv("BATCHUP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("BATCHUP_MIRROR", str(tmp_path / "mirror"))
    monkeypatch.setenv("BATCHUP_OFFLINE", "1")
    monkeypatch.setattr(fetching, "WAIT", 0.01)
    monkeypatch.chdir(tmp_path)
    for name in ("mnist", "cifar100", "stl", "svhn_extra", "usps"):
        case = CASES[name]
        files, _ = case.files()
        archives.believed(case, files, monkeypatch)
        archives.laid_out(case, files, tmp_path / "mirror")
    return tmp_path / "home" / "data"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Have a function that runs the command, and returns its status and what it printed."""

    def run(*arguments: str) -> tuple[int, str, str]:
        status = cli.main(["datasets", *arguments])
        told = capsys.readouterr()
        return status, told.out, told.err

    return run


Run = Callable[..., tuple[int, str, str]]


def read(path: Path) -> Any:
    """Return the pixels of an image."""
    with Image.open(path) as image:
        return np.asarray(image)


def test_from_fetching_to_removing(run: Run, home: Path) -> None:
    """Data sets are fetched, listed, verified and removed."""
    status, told, _ = run("list")
    assert status == 0
    lines = told.splitlines()
    assert lines[0] == str(home)
    assert len(lines) == 1 + len(CASES)
    assert lines[1].split() == ["mnist", "-", "-", "handwritten", "digits,", "28", "x", "28"]
    assert run("path", "mnist") == (0, f"{home}/mnist\n", "")
    status, told, _ = run("fetch", "mnist", "svhn_extra")
    assert status == 0
    assert told == f"mnist: 60 train, 20 test, in {home}/mnist\nsvhn_extra: 40 extra, in {home}/svhn_extra\n"
    status, told, _ = run("list")
    assert "mnist          0.1 MB  60 train, 20 test  handwritten digits, 28 x 28\n" in told
    assert run("verify")[:2] == (
        0,
        "mnist: 0.1 MB are what was written\nsvhn_extra: 0.1 MB are what was written\n",
    )
    assert run("remove", "mnist")[:2] == (0, "mnist is not on this machine any more\n")
    assert not (home / "mnist").exists()
    status, told, errors = run("verify", "svhn_extra", "mnist")
    assert (status, told) == (1, "svhn_extra: 0.1 MB are what was written\n")
    assert errors == "batchup: mnist is not on this machine: batchup datasets fetch mnist\n"
    assert run("remove", "mnist")[0] == 0


def test_what_is_damaged(run: Run, home: Path) -> None:
    """A damaged data set is told, and the others are verified all the same."""
    run("fetch", "mnist", "usps")
    path = home / "mnist" / "test_y.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    status, told, errors = run("verify")
    assert (status, told) == (1, "usps: 0.1 MB are what was written\n")
    assert "batchup: mnist: " in errors
    assert "test_y.npy is not what was written: remove" in errors
    path.write_bytes(b"x")
    lines = run("list")[1].splitlines()
    assert lines[1].split()[:4] == ["mnist", "0.1", "MB", "damaged"]
    assert "60 train, 20 test" in lines[-1]
    status, _, errors = run("fetch", "mnist")
    assert status == 1
    assert "test_y.npy is damaged" in errors
    assert "mnist, and it will be made again" in errors


def test_errors(run: Run) -> None:
    """A name that is none, and a data set that cannot be fetched, are told in the error's words."""
    status, _, errors = run("fetch", "imagenet")
    assert status == 1
    assert errors.startswith("batchup: there is no data set 'imagenet': there are mnist, fashion_mnist, svhn,")
    status, _, errors = run("fetch", "cifar10")
    assert status == 1
    assert "cifar10 could not be fetched:" in errors
    assert "cifar-10-python.tar.gz: No such file or directory" in errors
    with pytest.raises(SystemExit) as caught:
        run("fetch")
    assert caught.value.code == 2


@pytest.mark.parametrize("name", ["mnist", "cifar100", "stl", "svhn_extra", "usps"])
def test_show(name: str, run: Run, tmp_path: Path) -> None:
    """The sheet has a row of images for each class, the same ones each time."""
    status, told, _ = run("show", name)
    assert status == 0
    sheet = read(tmp_path / f"{name}.png")
    assert told == f"{name}.png: {sheet.shape[1]} x {sheet.shape[0]} pixels\n"
    assert len(np.unique(sheet)) > 50
    run("show", name, "--out", "again.png", "--part", "train")
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / f"{name}.png").read_bytes()
    run("show", name, "--seed", "1", "--out", "other.png", "--per-class", "1")
    other = read(tmp_path / "other.png")
    assert other.shape[1] < sheet.shape[1]
    assert other.shape[0] == sheet.shape[0]


def test_what_is_on_a_sheet(tmp_path: Path) -> None:
    """Each image on the sheet is one of the class that it stands beside."""
    X, y = np.zeros((6, 3, 48, 48), np.float32), np.array([0, 1, 0, 1, 1, 0])
    X[np.arange(6), y] = 1
    colours = SimpleNamespace(train_X=X, train_y=y, class_names=["red", "green"])
    width, height = write_sheet(colours, str(tmp_path / "a.png"), per_class=3)
    pixels = read(tmp_path / "a.png")
    assert pixels.shape == (height, width, 3)
    for row, colour in enumerate(([255, 0, 0], [0, 255, 0])):
        band = pixels[4 + row * 52 : 52 + row * 52]
        assert (band == colour).all(axis=2).sum() == 3 * 48 * 48


def test_sheets_that_cannot_be(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without images, or without Pillow, there is an error, and no file."""
    ds = mnist.MNIST(n_val=0)
    with pytest.raises(InvalidValueError, match="there are no images of the part 'val'"):
        write_sheet(ds, "a.png", "val")
    real: Any = __import__("importlib").import_module

    def without_pillow(name: str) -> Any:
        if name.startswith("PIL"):
            raise ImportError(name)
        return real(name)

    monkeypatch.setattr("importlib.import_module", without_pillow)
    with pytest.raises(MissingExtraError, match=r'pip install "batchup\[image\]"'):
        write_sheet(ds, "a.png")
    assert not (tmp_path / "a.png").exists()
