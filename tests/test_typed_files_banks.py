"""`batchup files`: folders of images and sounds become one file, whole or absent, and errors say what came."""

from __future__ import annotations

import os
import re
import signal
import struct
import subprocess
import sys
import time
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tqdm import tqdm

from batchup import typed_files as h5m
from batchup.cli import main
from batchup.work_pool import WorkerThreadPool

WITHOUT_PROCESSES = ("--parallelism", "none")
RATE = 8000


class Images(h5m.TypedFile):
    images = h5m.Image()
    labels = h5m.DirLabels()


class AnyImages(h5m.TypedFile):
    images = h5m.VShape(h5m.Image())
    labels = h5m.DirLabels()


class Sounds(h5m.TypedFile):
    sounds = h5m.Sound()
    labels = h5m.DirLabels()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Go to an empty folder; bars start no thread."""
    monkeypatch.setattr(tqdm, "monitor_interval", 0)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def files(what: str, out: str, *arguments: str, parallelism: tuple[str, ...] = WITHOUT_PROCESSES) -> int:
    return main(["files", what, out, *arguments, *parallelism])


def errors(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return what was said besides the bar."""
    return re.findall(r"^batchup: (.*)$", capsys.readouterr().err, re.MULTILINE)


def write_image(path: str, pixels: NDArray[np.uint8]) -> str:
    from PIL import Image

    os.makedirs(os.path.dirname(path), exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def digits(n: int = 30) -> dict[str, NDArray[np.uint8]]:
    """Write some digits into directories by class; return them by path, in the order in which they are found."""
    from sklearn.datasets import load_digits

    data = load_digits()
    pixels = (data.images[:n] * 15.9).astype(np.uint8)
    paths = [f"digits/{label}/{number:03d}.png" for number, label in enumerate(data.target[:n])]
    made = {write_image(path, image): image for path, image in zip(paths, pixels, strict=True)}
    return dict(sorted(made.items()))


def check_digits(path: str, made: dict[str, NDArray[np.uint8]]) -> None:
    with Images(path) as file:
        assert list(file.index) == list(made)
        for source, image in made.items():
            assert np.array_equal(file.images.get(source), image)
        names = list(file.labels.attrs["names"])
        assert [names[label] for label in file.labels[:]] == [source.split("/")[1] for source in made]


@pytest.mark.parametrize("parallelism", ["mp", "threads", "none"])
def test_images(parallelism: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each image is there as it was, under its path and the label of its directory, whoever loads it."""
    made = digits()
    assert files("images", "d.h5", "digits", "--workers", "2", parallelism=("--parallelism", parallelism)) == 0
    check_digits("d.h5", made)
    assert os.listdir() in (["d.h5", "digits"], ["digits", "d.h5"])
    printed, bar = capsys.readouterr()
    assert printed.splitlines()[:4] == [
        "images     30",
        "labels     10: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9",
        f"written to d.h5: {os.path.getsize('d.h5'):,} bytes",
        "",
    ]
    assert "<Images 'd.h5'>" in printed
    assert "labels/" in printed
    assert "100%" in bar
    assert "batchup:" not in bar


def test_paths_are_as_they_were_named() -> None:
    """Ids begin as the folder was written; what is found twice is there once; hidden and other files are left out."""
    made = digits(5)
    Path("digits/notes.txt").write_text("no image", encoding="utf-8")
    write_image("digits/.hidden.png", np.zeros((8, 8), np.uint8))
    first = next(iter(made))
    assert files("images", "a.h5", "./digits/", first) == 0
    assert list(Images("a.h5").index) == list(made)
    assert files("images", "b.h5", os.path.abspath("digits")) == 0
    assert list(Images("b.h5").index) == [os.path.abspath(path) for path in made]
    assert files("images", "c.h5", first) == 0
    assert list(Images("c.h5").index) == [first]


def test_size_and_mode() -> None:
    """--size and --mode make images of any kind alike, and are kept in the file."""
    write_image("some/a.png", np.zeros((5, 7), np.uint8))
    write_image("some/b.png", np.full((9, 4, 3), 200, np.uint8))
    assert files("images", "rgb.h5", "some", "--size", "6x3", "--mode", "RGB") == 0
    file = Images("rgb.h5")
    assert file.images.get("some/b.png").tolist() == np.full((3, 6, 3), 200).tolist()
    assert (file.images.attrs["mode"], list(file.images.attrs["size"])) == ("RGB", [6, 3])
    assert files("images", "grey.h5", "some", "--size", "6x3", "--mode", "L") == 0
    assert Images("grey.h5").images.shape == (6, 6)


def test_vshape(capsys: pytest.CaptureFixture[str]) -> None:
    """Images of unequal size are an error that says what to do; --vshape is it."""
    write_image("some/a.png", np.zeros((5, 7), np.uint8))
    write_image("some/b.png", np.arange(108, dtype=np.uint8).reshape(9, 4, 3))
    assert files("images", "a.h5", "some") == 1
    (error,) = errors(capsys)
    assert error.startswith("some/b.png has the shape (9, 4, 3), the others have (n, 7): --size WxH and --mode")
    assert error.endswith("; --skip-errors leaves it out")
    assert os.listdir() == ["some"]
    assert files("images", "a.h5", "some", "--vshape") == 0
    file = AnyImages("a.h5")
    assert file.images.get("some/a.png").shape == (5, 7)
    assert file.images.get("some/b.png").tolist() == np.arange(108).reshape(9, 4, 3).tolist()


@pytest.mark.parametrize("vshape", [(), ("--vshape",)])
def test_depths_are_not_mixed(vshape: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """Images of 8 and of 16 bits in one file are an error, in files with any shapes, too."""
    write_image("some/a.png", np.zeros((2, 2), np.uint8))
    write_image("some/b.png", np.full((2, 2), 60_000, np.uint16))
    assert files("images", "a.h5", "some", *vshape) == 1
    assert "some/b.png is of uint16, the others are of uint8: " in errors(capsys)[0]


def test_depths_are_not_mixed_later(capsys: pytest.CaptureFixture[str]) -> None:
    """Nor are they when images are added: the file says of what depth they are."""
    write_image("some/a.png", np.zeros((2, 2), np.uint8))
    assert files("images", "a.h5", "some") == 0
    write_image("some/b.png", np.full((2, 2), 60_000, np.uint16))
    capsys.readouterr()
    assert files("images", "a.h5", "some", "--append", "--skip-errors") == 3
    assert errors(capsys)[0].startswith("skipped: some/b.png is of uint16, the others are of uint8: --size WxH")


def test_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """--workers says how many load at a time."""
    asked: list[int | None] = []

    def pool(processes: int | None = None) -> WorkerThreadPool:
        asked.append(processes)
        return WorkerThreadPool(processes)

    monkeypatch.setattr("batchup.typed_files.workers.WorkerThreadPool", pool)
    digits(3)
    threads = ("--parallelism", "threads")
    assert files("images", "a.h5", "digits", "--workers", "3", parallelism=threads) == 0
    assert files("images", "b.h5", "digits", parallelism=threads) == 0
    assert asked == [3, None]


def broken() -> dict[str, str]:
    """Write images that cannot be read; return what is said of each."""
    noise = np.random.default_rng(0).integers(0, 256, (8, 8)).astype(np.uint8)  # which cannot be compressed
    whole = Path(write_image("bad/whole.png", noise)).read_bytes()
    os.remove("bad/whole.png")
    for name, data in {"text": b"no image", "cut": whole[:80], "empty": b"", "head": whole[:20]}.items():
        Path(f"bad/{name}.png").write_bytes(data)
    write_image("bad/small.png", np.zeros((3, 3), np.uint8))
    return {f"bad/{name}.png": "cannot be read" for name in ("cut", "empty", "head", "text")} | {
        "bad/small.png": "has the shape (3, 3)"
    }


def test_broken_images(capsys: pytest.CaptureFixture[str]) -> None:
    """One that cannot be read is an error that names it, and leaves no file; --skip-errors leaves such images out."""
    made = digits(9)
    said = broken()
    assert files("images", "a.h5", "digits", "bad") == 1
    assert re.match(r"bad/cut\.png cannot be read \(.*\); --skip-errors leaves it out$", errors(capsys)[0])
    assert not os.path.exists("a.h5")
    assert files("images", "a.h5", "bad", "digits", "--skip-errors", "--size", "8x8") == 3
    capsys.readouterr()
    assert files("images", "b.h5", "digits", "bad", "--skip-errors") == 3
    printed, err = capsys.readouterr()
    check_digits("b.h5", made)
    assert "images     9\n" in printed
    assert "skipped    5\n" in printed
    warnings = re.findall(r"^batchup: skipped: (\S+) (.*)$", err, re.MULTILINE)
    assert [source for source, _ in warnings] == sorted(said)
    assert all(text.startswith(said[source]) for source, text in warnings)
    assert "--skip-errors" not in err


def test_nothing_but_broken_images(capsys: pytest.CaptureFixture[str]) -> None:
    """If none can be read there is no file, with --skip-errors too, and what is there stays as it is."""
    made = digits(3)
    broken()
    os.remove("bad/small.png")
    assert files("images", "a.h5", "bad", "--skip-errors") == 1
    assert errors(capsys)[0].startswith("none of the 4 images can be read; of the last one: bad/text.png")
    assert not os.path.exists("a.h5")
    assert files("images", "a.h5", "digits") == 0
    assert files("images", "a.h5", "bad", "--append") == 1
    check_digits("a.h5", made)


def test_empty_folders(capsys: pytest.CaptureFixture[str]) -> None:
    """A folder without images is told of; if all are, that is an error; one that is not there is one at once."""
    os.mkdir("empty")
    assert files("images", "a.h5", "empty") == 1
    assert errors(capsys) == [
        "no images in empty (files that end on bmp, gif, jpeg, png, ppm, pgm, tiff, webp)",
    ]
    assert files("sounds", "a.h5", "empty", "empty") == 1
    assert errors(capsys) == ["no sounds in empty, empty (files that end on wav)"]
    assert files("images", "a.h5", "empty", "missing") == 1
    assert errors(capsys) == ["missing does not exist"]
    assert os.listdir() == ["empty"]
    digits(2)
    assert files("images", "a.h5", "empty", "digits") == 0
    assert errors(capsys) == ["empty holds no images"]


def test_append(capsys: pytest.CaptureFixture[str]) -> None:
    """--append adds what is not there, as the file says; what is there is not touched, nor lost without it."""
    made = digits(6)
    assert files("images", "a.h5", "digits", "--mode", "L", "--append") == 0
    before = Path("a.h5").read_bytes()
    capsys.readouterr()
    assert files("images", "a.h5", "digits") == 1
    assert errors(capsys) == ["a.h5 is there already: --append adds to it, or name what is not there"]
    assert Path("a.h5").read_bytes() == before
    colour = write_image("digits/a new one/x.png", np.zeros((8, 8, 3), np.uint8))
    assert files("images", "a.h5", "digits", "--append") == 0
    assert capsys.readouterr().out.startswith("images     1, and 6 were there\n")
    file = Images("a.h5")
    assert file.images.get(colour).shape == (8, 8)
    assert list(file.index) == [*made, colour]
    assert file.labels.get(colour)[0] == len({source.split("/")[1] for source in made})
    assert files("images", "a.h5", "digits", "--append") == 0
    assert capsys.readouterr().out.startswith("images     0, and 7 were there\n")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--mode", "RGB"), "made with mode L, got RGB"),
        (("--size", "8x9"), "made with size none, got (8, 9)"),
        (("--vshape",), "made without --vshape"),
    ],
)
def test_append_otherwise(options: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What the file was made with cannot be changed when images are added."""
    digits(2)
    assert files("images", "a.h5", "digits", "--mode", "L") == 0
    capsys.readouterr()
    assert files("images", "a.h5", "digits", "--append", *options) == 1
    assert errors(capsys) == [f"the images of a.h5 were {said}"]


def test_append_to_any_shapes() -> None:
    """A file of images of any shape stays one, with or without --vshape, and its size is applied to new ones."""
    write_image("some/a.png", np.zeros((5, 7), np.uint8))
    assert files("images", "a.h5", "some", "--vshape") == 0
    write_image("some/b.png", np.zeros((2, 3, 3), np.uint8))
    assert files("images", "a.h5", "some", "--append") == 0
    write_image("some/c.png", np.zeros((4, 1), np.uint8))
    assert files("images", "a.h5", "some", "--append", "--vshape") == 0
    file = AnyImages("a.h5")
    assert [file.images.get(f"some/{name}.png").shape for name in "abc"] == [(5, 7), (2, 3, 3), (4, 1)]


def test_append_to_what_is_no_file_of_images(capsys: pytest.CaptureFixture[str]) -> None:
    """What is no HDF5 file is refused; one of sounds takes images beside them."""
    digits(2)
    Path("a.h5").write_bytes(b"nothing of the kind")
    assert files("images", "a.h5", "digits", "--append") == 1
    assert "is no HDF5 file" in errors(capsys)[0]
    write_sound("notes/a.wav", np.zeros(4, np.int16))
    assert files("sounds", "b.h5", "notes") == 0
    assert files("images", "b.h5", "digits", "--append") == 0
    assert (len(Images("b.h5").images.sources), len(Sounds("b.h5").sounds.sources)) == (2, 1)


def write_sound(path: str, frames: NDArray[Any], rate: int = RATE) -> str:
    from scipy.io import wavfile

    os.makedirs(os.path.dirname(path), exist_ok=True)
    wavfile.write(path, rate, frames)
    return path


def write_24_bits(path: str, frames: NDArray[np.int32]) -> str:
    """Write frames of 24 bits, which scipy can only read."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with wave.open(path, "wb") as file:
        file.setnchannels(1 if frames.ndim == 1 else frames.shape[1])
        file.setsampwidth(3)
        file.setframerate(RATE)
        file.writeframes(b"".join(struct.pack("<i", number)[:3] for number in frames.ravel().tolist()))
    return path


def tone(*shape: int) -> NDArray[np.float64]:
    return np.sin(np.arange(int(np.prod(shape)))).reshape(shape) * 0.9


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("mono", [False, True])
@pytest.mark.parametrize("kind", ["uint8", "int16", "int24", "int32", "float32"])
def test_sounds(kind: str, mono: bool, channels: int) -> None:
    """Frames of any kind come as float32 between -1 and 1, with --mono averaged over channels."""
    waves = {f"notes/{name}/{length}.wav": tone(length, channels) for name, length in [("a", 50), ("b", 31)]}
    for path, frames in waves.items():
        frames = frames if channels > 1 else frames[:, 0]
        if kind == "int24":
            write_24_bits(path, (frames * 2**23).astype(np.int32))
        elif kind == "uint8":
            write_sound(path, (frames * 128 + 128).astype(np.uint8))
        else:
            write_sound(path, (frames * (np.iinfo(kind).max if kind[0] == "i" else 1)).astype(kind))
    assert files("sounds", "n.h5", "notes", "--sample-rate", str(RATE), *["--mono"] * mono) == 0
    file = Sounds("n.h5")
    for path, frames in waves.items():
        found = file.sounds.get(path)
        expected = frames if channels > 1 and not mono else frames.mean(axis=1)
        assert found.dtype == np.float32
        assert found.shape == expected.shape
        assert np.abs(found - expected).max() < (0.02 if kind == "uint8" else 1e-4)
    assert file.labels[:].tolist() == [0, 1]
    assert (file.sounds.attrs["sr"], bool(file.sounds.attrs["mono"])) == (RATE, mono)


def test_sounds_that_do_not_fit(capsys: pytest.CaptureFixture[str]) -> None:
    """Another sample rate, another number of channels, and what is no sound are errors, or skipped."""
    write_sound("notes/0.wav", np.zeros(5, np.int16), rate=44100)
    write_sound("notes/1.wav", np.zeros(4, np.int16))
    write_sound("notes/2.wav", np.zeros((3, 2), np.int16))
    Path("notes/3.wav").write_bytes(b"RIFFnonsense")
    Path("notes/4.wav").write_bytes(Path("notes/1.wav").read_bytes()[:30])
    assert files("sounds", "a.h5", "notes", "--sample-rate", str(RATE)) == 1
    assert re.match(r"notes/0.wav has a sample rate of 44100 Hz", errors(capsys)[0])
    assert files("sounds", "a.h5", "notes", "--sample-rate", str(RATE), "--skip-errors") == 3
    said = errors(capsys)
    assert [text.split()[1] for text in said] == [f"notes/{number}.wav" for number in (0, 2, 3, 4)]
    assert "--mono makes one channel of several" in said[1]
    assert list(Sounds("a.h5").index) == ["notes/1.wav"]
    assert files("sounds", "b.h5", "notes/1.wav", "notes/2.wav", "--mono") == 0
    assert Sounds("b.h5").sounds.shape == (7,)


def test_append_sounds(capsys: pytest.CaptureFixture[str]) -> None:
    """The file knows its sample rate and that it is mono."""
    write_sound("notes/1.wav", np.zeros((4, 2), np.int16))
    assert files("sounds", "a.h5", "notes", "--mono", "--sample-rate", str(RATE)) == 0
    write_sound("notes/2.wav", np.zeros((3, 2), np.int16))
    assert files("sounds", "a.h5", "notes", "--append") == 0
    assert Sounds("a.h5").sounds.shape == (7,)
    write_sound("notes/3.wav", np.zeros((3, 2), np.int16), rate=44100)
    capsys.readouterr()
    assert files("sounds", "a.h5", "notes", "--append") == 1
    assert "needs 8000 Hz" in errors(capsys)[0]
    write_sound("stereo/1.wav", np.zeros((4, 2), np.int16))
    assert files("sounds", "b.h5", "stereo") == 0
    capsys.readouterr()
    assert files("sounds", "b.h5", "stereo", "--append", "--mono") == 1
    assert errors(capsys) == ["the sounds of b.h5 were made without --mono"]


def test_resume(capsys: pytest.CaptureFixture[str]) -> None:
    """With --resume, what has been loaded before an error is not loaded again, unless the options are others."""
    made = digits(9)
    bad = write_image("digits/z/bad.png", np.zeros((8, 8), np.uint8))
    data = Path(bad).read_bytes()
    Path(bad).write_bytes(b"")
    assert files("images", "a.h5", "digits", "--resume") == 1
    assert sorted(os.listdir()) == ["a.h5.loaded", "digits"]
    Path(bad).write_bytes(data)
    first = next(iter(made))
    status = os.stat(first)
    Path(first).write_bytes(b"x" * status.st_size)
    os.utime(first, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert files("images", "a.h5", "digits", "--resume", "--mode", "L") == 1  # the first is read for its shape
    write_image(first, made[first])
    assert files("images", "a.h5", "digits", "--resume") == 0
    check_digits("a.h5", {**made, bad: np.zeros((8, 8), np.uint8)})
    assert sorted(os.listdir()) == ["a.h5", "digits"]


@pytest.mark.parametrize("resume", [False, True])
def test_ctrl_c(resume: bool, folder: Path) -> None:
    """Ctrl-C ends it with status 130; what was there stays; with --resume, what was loaded is kept."""
    made = digits(20)
    assert files("images", "a.h5", "digits") == 0
    slow = (
        "import os, signal, sys, time\nfrom batchup.typed_files import Image, banks\nload = Image.load\n"
        "def slow(self, source):\n    if source.endswith('new.png'):\n        print('now', flush=True)\n"
        "        time.sleep(60)\n    return load(self, source)\nImage.load = slow\n"
        "from batchup.cli import main\nsys.exit(main(sys.argv[1:]))\n"
    )
    write_image("digits/5/a.png", made["digits/5/005.png"])
    write_image("digits/9/new.png", made["digits/5/005.png"])
    command = [sys.executable, "-c", slow, "files", "images", "a.h5", "digits", "--append", *WITHOUT_PROCESSES]
    with subprocess.Popen(
        command + ["--resume"] * resume, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "now\n"
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    kept = "run it again to go on" if resume else "with --resume, what was loaded is kept"
    assert f"batchup: interrupted; a.h5 was not added to; {kept}" in err
    assert "Traceback" not in err
    assert sorted(os.listdir()) == ["a.h5", *["a.h5.loaded"] * resume, "digits"]
    check_digits("a.h5", made)


def test_without_what_it_needs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Without h5py or Pillow, the command that installs it is named."""
    monkeypatch.setitem(sys.modules, "h5py", None)
    write_sound("notes/a.wav", np.zeros(4, np.int16))
    assert files("sounds", "a.h5", "notes") == 1
    assert 'pip install "batchup[hdf5]"' in errors(capsys)[0]
    monkeypatch.undo()
    os.chdir(Path("notes").parent)
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    assert files("images", "a.h5", "notes", "--skip-errors") == 1
    assert 'pip install "batchup[image]"' in errors(capsys)[0]


def test_a_folder_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    """The folder of the file must be there."""
    write_sound("notes/a.wav", np.zeros(4, np.int16))
    assert files("sounds", "no/where.h5", "notes") == 1
    assert "is no folder: make that first" in errors(capsys)[0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("images", "a.h5"), "FOLDER"),
        (("images", "a.h5", "x", "--size", "8"), "must be WIDTHxHEIGHT in pixels, like 224x224, got '8'"),
        (("images", "a.h5", "x", "--size", "0x8"), "must be WIDTHxHEIGHT"),
        (("images", "a.h5", "x", "--mode", "P"), "invalid choice: 'P'"),
        (("sounds", "a.h5", "x", "--sample-rate", "0"), "must be a whole number of at least 1"),
        (("sounds", "a.h5", "x", "--workers", "some"), "must be a whole number of at least 1"),
    ],
)
def test_usage(arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What is no command is told before anything is read."""
    with pytest.raises(SystemExit) as ended:
        main(["files", *arguments])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("what", ["images", "sounds"])
def test_help_shows_what_runs(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The program in the help text reads what the command has made."""
    with pytest.raises(SystemExit):
        main(["files", what, "--help"])
    text = capsys.readouterr().out
    program = text[text.index("    from batchup") :]
    program = program[: program.index("\n\nThe names")] if what == "images" else program
    program = re.sub("^    ", "", program, flags=re.MULTILINE).replace(
        "shuffle=True", 'shuffle=True, framework="numpy"'
    )
    found: dict[str, Any] = {}
    if what == "images":
        digits(9)
        assert files("images", "digits.h5", "digits") == 0
        exec(program, found)
        assert found["images"].shape == (9, 8, 8)
    else:
        write_sound("notes/a/440.wav", (tone(3000) * 2**15).astype(np.int16))
        assert files("sounds", "notes.h5", "notes") == 0
        exec(program, found)
        assert found["one"].shape == (3000,)
        assert next(iter(found["windows"]))["x"].shape == (32, 1024)
