"""`batchup info`, `head`, `verify`, `convert`, `split` and `stats`: what they print, how they end, what they leave."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import batchup
from batchup import cli
from batchup.cli import main
from batchup.errors import InvalidValueError
from batchup.formats import open_table
from batchup.formats.checked import Checked
from batchup.formats.registry import names
from batchup.formats.together import PREFIX

from .kills import room_for
from .tables import check_same, images, texts, whole

KNOWN = names()
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Have a function that runs the command in a folder, and returns its status and what it printed."""
    monkeypatch.chdir(tmp_path)
    x = np.arange(100, dtype=np.float32)
    batchup.Dataset(x=x, label=np.arange(100) % 3).write("all.npz")

    def run(*arguments: str) -> tuple[int, str, str]:
        status = main(list(arguments))
        told = capsys.readouterr()
        return status, told.out, told.err

    return run


def test_info(run: Run) -> None:
    """`info` tells format, rows, bytes and columns; for people, and as JSON."""
    size = os.path.getsize("all.npz")
    status, out, _ = run("info", "all.npz")
    assert (status, out) == (0, f"all.npz: npz, 100 rows, {size / 1000:.1f} kB\n  x      float32\n  label  int64\n")
    status, out, _ = run("info", "--json", "*.npz")
    assert status == 0
    assert json.loads(out) == [
        {
            "path": "all.npz",
            "format": "npz",
            "rows": 100,
            "bytes": size,
            "columns": [
                {"name": "x", "type": "float32", "dtype": "<f4", "shape": []},
                {"name": "label", "type": "int64", "dtype": "<i8", "shape": []},
            ],
            "meta": {},
        }
    ]


def test_formats(run: Run) -> None:
    """`formats` lists those that there are; of one that is named it tells all options, each with what it means."""
    listed = run("formats")[1].splitlines()
    assert {line.split()[0] for line in listed} >= set(KNOWN)
    told = run("formats", "csv")[1]
    assert told.startswith("csv: .csv\n\n--option of its reader\n")
    assert '  delimiter=","         What is between cells.\n' in told
    assert "\n--write of its writer\n" in told
    assert [one["missing"] for one in json.loads(run("formats", "--json")[1])] == [None] * len(listed)
    for one in json.loads(run("formats", "--json", *KNOWN)[1]):
        assert all(option["meaning"].endswith(".") for option in one["reading"] + one["writing"]), one["name"]
    assert run("formats", "none")[0] == 1


def test_some_files_are_wrong(run: Run) -> None:
    """What can be told is told; each file that is wrong has a line, and the status is 1."""
    Path("bad.npz").write_bytes(b"no such thing")
    for command in ("info", "verify"):
        status, out, err = run(command, "none.npz", "bad.npz", "all.npz")
        assert status == 1
        assert out.startswith("all.npz: ")
        assert [line.split(": ")[0] for line in err.splitlines()] == ["batchup", "batchup"]
        assert "none.npz" in err
        assert "bad.npz" in err


def test_head(run: Run) -> None:
    """`head` shows some rows below the names of the columns, arrays in brief; as JSON they are whole."""
    assert run("head", "-n", "2", "all.npz")[1] == "x    label\n0.0  0\n1.0  1\n"
    assert run("head", "-n", "1", "--columns", "label", "--json", "all.npz")[1] == '{"label": 0}\n'
    batchup.Dataset(images()).write("images.npz")
    _, out, _ = run("head", "-n", "1", "images.npz")
    assert out.splitlines()[1].startswith("uint8 (5, 4): ")
    assert len(out.splitlines()[1]) < 60
    _, out, _ = run("head", "-n", "1", "images.npz", "--json")
    assert json.loads(out) == {"image": images()["image"][0].tolist(), "label": 0}
    assert run("head", "-n", "0", "all.npz")[1] == "x  label\n"


def test_verify(run: Run) -> None:
    """`verify` reads to the end, and finds a byte that has changed."""
    assert run("convert", "all.npz", "all.hsq")[0] == 0
    status, out, _ = run("verify", "all.npz", "all.hsq")
    assert status == 0
    assert [line.split(", ")[-1] for line in out.splitlines()] == ["all is well"] * 2
    with open("all.hsq", "r+b") as file:
        file.seek(100)
        file.write(b"\xff")
    status, out, err = run("verify", "all.hsq", "--json")
    assert status == 1
    (told,) = json.loads(out)
    assert len(told["problems"]) == 1
    assert "all.hsq" in err


def test_stats(run: Run) -> None:
    """`stats` tells extremes, mean and deviation, and how often each label occurs."""
    _, out, _ = run("stats", "all.npz", "--json")
    told = json.loads(out)
    x = np.arange(100)
    assert told["x"] == {"dtype": "float32", "rows": 100, "min": 0, "max": 99, "mean": x.mean(), "std": x.std()}
    assert told["label"]["values"] == {"0": 34, "1": 33, "2": 33}
    _, out, _ = run("stats", "all.npz", "--columns", "label")
    assert out.startswith("label\n  dtype  int64\n  rows   100\n")
    assert "\n  0: 34, 1: 33, 2: 33\n" in out


def test_convert(run: Run) -> None:
    """`convert` writes the same rows, says how many, and replaces nothing unless it is told to."""
    status, out, _ = run("convert", "all.npz", "all.npz", "twice.hsq", "--columns", "label,x")
    assert status == 0
    assert out.startswith("twice.hsq: 200 rows, ")
    before = Path("twice.hsq").read_bytes()
    status, _, err = run("convert", "all.npz", "twice.hsq")
    assert status == 1
    assert "--overwrite" in err
    assert Path("twice.hsq").read_bytes() == before
    assert run("convert", "all.npz", "twice.hsq", "--overwrite", "--dtype", "label=int8")[0] == 0
    with open_table("twice.hsq") as table:
        assert table.rows == 100
        assert table.fields["label"].dtype == np.int8


def test_a_cast_that_loses(run: Run) -> None:
    """A number that a dtype cannot hold is an error, and no file is made."""
    batchup.Dataset(x=[1, 300]).write("large.npz")
    status, _, err = run("convert", "large.npz", "small.npz", "--dtype", "x=uint8")
    assert (status, err) == (1, "batchup: large.npz, rows 0 to 1, column 'x': 300 cannot be uint8\n")
    assert sorted(os.listdir()) == ["all.npz", "large.npz"]
    status, _, err = run("convert", "large.npz", "small.npz", "--dtype", "y=uint8")
    assert (status, err) == (1, "batchup: large.npz has no columns ['y']: it has ['x']\n")


def test_split_into_pieces(run: Run) -> None:
    """Pieces have so many rows, in their order; if one cannot be written, none stays."""
    status, out, _ = run("split", "all.npz", "--rows", "40", "part-{:02d}.npz")
    assert (status, out) == (0, "part-00.npz: 40 rows\npart-01.npz: 40 rows\npart-02.npz: 20 rows\n")
    with open_table("part-*.npz") as parts, open_table("all.npz") as table:
        check_same(whole(parts), whole(table))
    os.remove("part-00.npz")
    os.remove("part-01.npz")
    status, _, err = run("split", "all.npz", "--rows", "40", "part-{:02d}.npz")
    assert status == 1
    assert "part-02.npz" in err
    assert sorted(os.listdir()) == ["all.npz", "part-02.npz"]
    status, _, err = run("split", "all.npz", "--rows", "40", "part.npz")
    assert status == 1
    assert "part-{:05d}.npz" in err


def test_split_into_shares(run: Run) -> None:
    """Each row is in one file; shares are what was asked for, by class if need be; the seed decides."""
    command = ["split", "all.npz", "--shares", "0.8,0.2", "--seed", "3", "--stratify", "label", "--overwrite"]
    assert run(*command, "a.npz", "b.npz")[1] == "a.npz: 80 rows\nb.npz: 20 rows\n"
    with open_table("a.npz") as first, open_table("b.npz") as second:
        parts = [whole(first), whole(second)]
    assert sorted(np.concatenate([part["x"] for part in parts]).tolist()) == list(range(100))
    assert all((np.diff(part["x"]) > 0).all() for part in parts)
    assert sorted(np.bincount(parts[1]["label"]).tolist()) == [6, 7, 7]
    assert run(*command, "c.npz", "d.npz")[0] == 0
    assert Path("a.npz").read_bytes() == Path("c.npz").read_bytes()
    status, _, err = run("split", "all.npz", "--shares", "0.8,0.3", "e.npz", "f.npz")
    assert status == 1
    assert "come to 1" in err


@pytest.mark.parametrize("command", [[], ["info", "convert"], ["convert"]])
def test_help(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """`--help` tells every option, and shows how the command is used."""
    for one in command or [""]:
        with pytest.raises(SystemExit) as ended:
            main([*([one] if one else []), "--help"])
        assert ended.value.code == 0
        out = capsys.readouterr().out
        assert ("$ batchup " in out) == bool(one)
        assert all(len(line) <= 120 for line in out.splitlines())


def test_ctrl_c(tmp_path: Path) -> None:
    """Ctrl-C in a conversion leaves nothing, and is status 130."""
    rng = np.random.default_rng(0)
    np.save(tmp_path / "a.npy", rng.integers(256, size=(60_000, 1_000), dtype=np.uint8))
    process = subprocess.Popen(
        [sys.executable, "-m", "batchup", "convert", "a.npy", "a.npz", "--write", "compressed=true"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    end = time.monotonic() + 60
    while len(os.listdir(tmp_path)) == 1 and time.monotonic() < end:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == "\nbatchup: interrupted; a.npz was not written\n"
    assert os.listdir(tmp_path) == ["a.npy"]


def test_who_reads_has_seen_enough(run: Run) -> None:
    """`batchup head ... | head -1` ends without a word."""
    command = f"{sys.executable} -m batchup head all.npz -n 100 --json | head -1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ('{"x": 0.0, "label": 0}\n', "")


def test_texts(run: Run) -> None:
    """Texts go through as they are."""
    block: Any = texts()
    batchup.Dataset([dict(zip(block, row, strict=True)) for row in zip(*block.values(), strict=True)]).write("a.jsonl")
    assert run("convert", "a.jsonl", "b.parquet")[0] == 0
    with open_table("b.parquet") as table:
        check_same(whole(table), block)


def test_pieces_over_what_is_read(run: Run) -> None:
    """Files that are read may be replaced by the pieces; if one of them is damaged, all stay as they were."""
    for number in range(4):
        batchup.Dataset(x=np.arange(10) + 10 * number).write(f"q-{number:02d}.npz")
    assert run("split", "q-*.npz", "--rows", "5", "q-{:02d}.npz", "--overwrite")[0] == 0
    with open_table("q-*.npz") as table:
        assert whole(table)["x"].tolist() == list(range(40))
    data = bytearray(Path("q-05.npz").read_bytes())
    data[-200] ^= 1
    Path("q-05.npz").write_bytes(data)
    before = {name: Path(name).read_bytes() for name in os.listdir()}
    assert run("split", "q-*.npz", "--rows", "3", "q-{:02d}.npz", "--overwrite")[0] == 1
    assert {name: Path(name).read_bytes() for name in os.listdir()} == before


def test_shares_are_there_together(run: Run) -> None:
    """If one share cannot be written, none is there."""
    batchup.Dataset(x=np.arange(100_000.0)).write("large.npz")
    with room_for(400_000):
        assert run("split", "large.npz", "--shares", ".7,.3", "one.hsq", "two.hsq")[0] == 1
    assert sorted(os.listdir()) == ["all.npz", "large.npz"]


@pytest.mark.parametrize("suffix", [".npz", ".hsq", ".parquet", ".records", ".tfrecord", ".csv.gz", ".jsonl.zst"])
def test_a_byte_that_has_changed(run: Run, suffix: str) -> None:
    """Formats with checksums notice a byte that has changed; of others `verify` does not say that all is well."""
    batchup.Dataset(x=np.random.default_rng(0).random(3000).astype(np.float32)).write(f"a{suffix}")
    assert run("verify", f"a{suffix}")[1].endswith("all is well\n")
    data = bytearray(Path(f"a{suffix}").read_bytes())
    data[len(data) // 2] ^= 1
    Path(f"a{suffix}").write_bytes(data)
    status, out, err = run("verify", f"a{suffix}")
    assert (status, out) == (1, "")
    assert f"a{suffix}" in err
    np.save("a.npy", np.arange(3))
    assert run("verify", "a.npy")[1].endswith("there are no checksums to compare\n")


def test_mistyped_options(run: Run) -> None:
    """What a reader or a writer has no option for is named, with those that there are."""
    status, _, err = run("info", "all.npz", "--option", "nosuch=1")
    assert (status, err.splitlines()[0]) == (
        1,
        "batchup: the reader of the format 'npz' has no option 'nosuch': it has on_error",
    )
    status, _, err = run("convert", "all.npz", "b.npz", "--write", "rows=3")
    assert (status, err) == (1, "batchup: the writer of the format 'npz' has no option 'rows': it has compressed\n")


def test_zeros_in_front(run: Run) -> None:
    """`--dtype` is told to the reader of what has no dtypes: the zeros of a number that is a text stay."""
    Path("z.csv").write_text("zip\n01234\n00501\n")
    assert run("convert", "z.csv", "z.npz", "--dtype", "zip=U5")[0] == 0
    with open_table("z.npz") as table:
        assert whole(table)["zip"].tolist() == ["01234", "00501"]


def test_elsewhere(run: Run) -> None:
    """Addresses and patterns of them are read as files are."""
    import fsspec

    files = fsspec.filesystem("memory")
    for number in range(2):
        files.pipe_file(f"/there/{number}.jsonl", b'{"x": %d}\n' % number)
    try:
        assert run("head", "memory://there/*.jsonl", "--json")[1] == '{"x": 0}\n{"x": 1}\n'
        assert run("info", "memory://there/2.jsonl")[0] == 1
        assert batchup.Dataset.read("memory://there/1.jsonl").list() == [{"x": 1}]
    finally:
        files.rm("/there", recursive=True)


def test_a_pattern_without_a_suffix(run: Run) -> None:
    """What a pattern means is told by the files that fit it."""
    os.mkdir("parts")
    Path("parts/0.csv").write_text("x\n1\n")
    for options in ([], ["--dtype", "x=int8"]):
        assert run("convert", "parts/*", "x.npz", "--overwrite", *options)[0] == 0
    with open_table("x.npz") as table:
        assert table.fields["x"].dtype == np.int8


def test_what_is_no_dtype(run: Run) -> None:
    """A dtype that there is not is told, whether or not the format is told it before it reads."""
    Path("a.csv").write_text("x\n1\n")
    for source in ("a.csv", "all.npz"):
        status, _, err = run("convert", source, "o.parquet", "--dtype", "x=nonsense")
        assert (status, "'x': 'nonsense' is no dtype of NumPy" in err) == (1, True)


def pictures(folder: str, count: int = 4) -> None:
    """Write a folder of pictures."""
    batchup.Dataset([{"image": np.full((2, 3), number, np.uint8)} for number in range(count)]).write.images(folder)


def tree() -> dict[str, bytes]:
    """Return all that is in this folder."""
    return {str(path): path.read_bytes() for path in sorted(Path().rglob("*")) if path.is_file()}


def test_folders_of_others(run: Run) -> None:
    """`split --overwrite` replaces no folder that it has not written, and is told so before anything is."""
    pictures("all")
    for name in ("mine0", "mine1", "p0.npz", "p0.hsq", "p0.zarr"):
        os.mkdir(name)
        Path(name, "text.txt").write_text("mine")
    Path("mine0", "photo.png").write_bytes(Path("all", "000000000.png").read_bytes())
    before = tree()
    for command in (
        ["all.npz", "--rows", "60", "p{}.npz"],
        ["all.npz", "--rows", "60", "p{}.hsq"],
        ["all.npz", "--rows", "60", "p{}.zarr"],
        ["all.npz", "--shares", ".5,.5", "new.npz", "p0.npz"],
        ["all.npz", "--shares", ".5,.5", "new.hsq", "p0.hsq"],
        ["all", "--rows", "3", "mine{}", "--to", "images"],
        ["all", "--shares", ".5,.5", "new", "mine1", "--to", "images"],
    ):
        status, _, err = run("split", *command, "--overwrite")
        assert status == 1
        assert "a folder has the name" in err or "has files in it that were not written so" in err
        assert tree() == before
        assert not [name for name in os.listdir() if name.startswith((".", "new"))]
    for rows in ("3", "2"):
        assert run("split", "all", "--rows", rows, "part{}", "--to", "images", "--overwrite")[0] == 0
        assert len(os.listdir("part0")) == int(rows) + 1
    assert not [name for name in os.listdir() if name.startswith(".") or "replaced" in name]


@pytest.mark.parametrize("suffix", [".npz", ".hsq", ".records", ".h5", ".csv", ".parquet", ".zarr", ".tfrecord"])
def test_pipes_stay(run: Run, suffix: str) -> None:
    """What is neither a file nor a folder is not replaced, by whatever name it goes; a link to a file is."""
    os.mkfifo(f"pipe{suffix}")
    os.symlink(f"pipe{suffix}", f"link{suffix}")
    for command in (
        ["convert", "all.npz", f"pipe{suffix}"],
        ["convert", "all.npz", f"link{suffix}"],
        ["split", "all.npz", "--shares", ".5,.5", f"new{suffix}", f"pipe{suffix}"],
    ):
        status, _, err = run(*command, "--overwrite")
        assert status == 1
        assert re.search("is no regular file|is a folder or a device|a file has the name of the folder", err)
        assert Path(f"pipe{suffix}").is_fifo()
        assert sorted(os.listdir()) == ["all.npz", f"link{suffix}", f"pipe{suffix}"]


def test_two_names_of_a_file(run: Run) -> None:
    """Pieces that are the same file by different names are refused; what is there stays."""
    assert run("split", "all.npz", "--rows", "60", "q{}.npz")[0] == 0
    os.remove("q1.npz")
    os.symlink("q0.npz", "q1.npz")
    before = tree()
    status, _, err = run("split", "all.npz", "--rows", "50", "q{}.npz", "--overwrite")
    assert status == 1
    assert "q1.npz is" in err
    assert "a name of its own" in err
    status, _, err = run("split", "all.npz", "--shares", ".5,.5", "out.npz", "./out.npz")
    assert (status, err) == (1, "batchup: out.npz and ./out.npz are the same file: each share needs one of its own\n")
    assert tree() == before
    assert sorted(os.listdir()) == ["all.npz", "q0.npz", "q1.npz"]


@pytest.mark.parametrize("command", [["convert", "new", "f"], ["split", "new", "--shares", "1", "f"]])
def test_killed_while_a_folder_is_replaced(run: Run, command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder that was to be replaced is put back, or removed; one that was not written so stays."""

    def failing(_: Checked) -> None:
        raise InvalidValueError("it fails")

    command = [*command, "--to", "images", "--overwrite"]
    pictures("new", 2)
    pictures("f.replaced", 5)
    with monkeypatch.context() as patch:
        patch.setattr(Checked, "finish", failing)
        assert run(*command)[0] == 1
    assert (len(os.listdir("f")), os.path.exists("f.replaced")) == (6, False)
    for _ in range(2):
        assert run(*command)[0] == 0
        assert len(os.listdir("f")) == 3
        assert not os.path.exists("f.replaced")
        pictures("f.replaced", 5)
    assert run(*command)[0] == 0
    os.mkdir("f.replaced")
    assert run(*command)[0] == 0
    assert not os.path.exists("f.replaced")
    pictures("f.replaced", 5)
    Path("f.replaced", "mine.txt").write_text("")
    status, _, err = run(*command)
    assert status == 1
    assert "f.replaced is in the way" in err
    assert len(os.listdir("f")) == 3
    assert len(os.listdir("f.replaced")) == 7


def test_what_a_killed_split_has_left(run: Run) -> None:
    """The next one removes it; but not what is in use, nor what is somebody else's."""
    splitting = """
import sys
import threading
from batchup.formats.together import together
from batchup.formats.numpy_files.npz_table import npz_sink
with together() as files, files.opened(npz_sink, "a.npz", {}):
    print(flush=True)
    sys.stdin.read()
"""
    process = subprocess.Popen([sys.executable, "-c", splitting], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin
    assert process.stdout
    process.stdout.readline()
    (left,) = [name for name in os.listdir() if name.startswith(PREFIX)]
    mine = PREFIX + "mine"
    os.mkdir(mine)
    Path(mine, "text.txt").write_text("")
    os.mkdir(PREFIX + "empty")
    try:
        assert run("split", "all.npz", "--rows", "60", "b{}.npz")[0] == 0
        assert sorted(os.listdir()) == sorted([left, mine, "all.npz", "b0.npz", "b1.npz"])
    finally:
        process.kill()
        process.communicate()
    assert "a.npz.partial" in os.listdir(left)
    assert run("split", "all.npz", "--rows", "60", "b{}.npz", "--overwrite")[0] == 0
    assert sorted(os.listdir()) == sorted([mine, "all.npz", "b0.npz", "b1.npz"])


def test_outputs_elsewhere(run: Run) -> None:
    """Files are written on this machine only: an address is refused before anything is read."""
    for arguments in (
        ("convert", "all.npz", "s3://bucket/x.npz"),
        ("split", "all.npz", "--rows", "50", "http://host/{}.npz"),
        ("split", "all.npz", "--shares", "0.5,0.5", "a.npz", "http://host/b.npz"),
    ):
        status, _, err = run(*arguments)
        assert (status, "written on this machine" in err) == (1, True)
    assert os.listdir() == ["all.npz"]


def test_interrupts_while_modules_are_loaded(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C waits until they are, is not lost, and ends the program with a word; other threads have none."""
    ended = []

    def here() -> None:
        with cli._undisturbed():
            signal.raise_signal(signal.SIGINT)
            ended.append("here")

    with pytest.raises(KeyboardInterrupt):
        here()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

    def elsewhere() -> None:
        with cli._undisturbed():
            ended.append("elsewhere")

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert ended == ["here", "elsewhere"]
    undisturbed = cli._undisturbed

    @contextlib.contextmanager
    def interrupted() -> Iterator[None]:
        with undisturbed():
            signal.raise_signal(signal.SIGINT)
            yield

    monkeypatch.setattr(cli, "_undisturbed", interrupted)
    assert main(["formats"]) == 130
    assert capsys.readouterr() == ("", "\nbatchup: interrupted\n")
