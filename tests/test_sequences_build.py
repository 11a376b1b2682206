"""`batchup sequences build`: records are the lines, a folder is whole or absent, and errors say what came."""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tqdm import tqdm

from batchup.cli import main
from batchup.sequences import FileRecordReader, Vocabulary, VocabularyCollector

SPECIAL = ["<pad>", "</s>", "<unk>"]
LINES = ["the cat sat", "", "the cat  purred\tand the dog sat", "é\u2028\x0bthe", "  ", "dog the sat the cat sat the"]
TEXT = "\n".join(LINES) + "\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Go to an empty folder with a corpus; bars start no thread, and imports are forgotten."""
    monkeypatch.setattr(tqdm, "monitor_interval", 0)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "corpus.txt").write_bytes(TEXT.encode())
    return tmp_path


def build(*options: str, corpus: str = "corpus.txt", out: str = "out") -> int:
    return main(["sequences", "build", corpus, out, *options])


def tokenizer(name: str, code: str) -> str:
    """Write a module with a function `split` into the current folder; return what names that."""
    Path(f"{name}.py").write_text(code, encoding="utf-8")
    return f"{name}:split"


def there() -> set[str]:
    return {path.name for path in Path().iterdir()} - {"__pycache__"}


def records(out: str = "out") -> list[list[int]]:
    """Return the records of a folder, by line."""
    with FileRecordReader(sorted(Path(out).glob("*.records"))) as reader:
        assert list(reader.indexes()) == list(range(reader.num_records()))
        return [reader.retrieve(index).tolist() for index in reader.indexes()]


def vocabulary_of(lines: list[str], most: int | None = None) -> Vocabulary:
    collector = VocabularyCollector()
    for line in lines:
        collector.add_symbols(line.split())
    return collector.consolidate(most)


@pytest.mark.parametrize("shard", [None, 1, 2, 6, 7])
@pytest.mark.parametrize("use_unk", [True, False])
@pytest.mark.parametrize("add_eos", [True, False])
@pytest.mark.parametrize("most", [None, 5, 3])
def test_records_are_the_lines(most: int | None, add_eos: bool, use_unk: bool, shard: int | None) -> None:
    """Each record is what the vocabulary makes of its line; shards count from 1, and know the vocabulary."""
    options = ["--use-unk"] * use_unk + ["--drop-unknown"] * (not use_unk) + ["--no-eos"] * (not add_eos)
    options += ["--max-symbols", str(most)] * (most is not None)
    options += ["--records-per-shard", str(shard)] * (shard is not None)
    assert build(*options) == 0
    vocab = vocabulary_of(LINES, most)
    assert records() == [vocab.encode(line.split(), use_unk, add_eos) for line in LINES]
    shards = -(-len(LINES) // (shard or 1000))
    names = [f"{number + 1:05d}.records" for number in range(shards)]
    assert sorted(os.listdir("out")) == [*names, "vocab.json"]
    assert Vocabulary.from_json(Path("out/vocab.json").read_text("utf-8")) == vocab
    for name in names:
        with FileRecordReader([f"out/{name}"]) as reader:
            assert reader.metadata("vocab") == vocab.to_json()
            assert reader.num_records() <= (shard or 1000)
    assert there() == {"corpus.txt", "out"}


def test_ids_are_int32_and_unknown_tokens_stay() -> None:
    """By default, ids are int32, unknown tokens are unk, and eos is behind them."""
    assert build("--max-symbols", "4") == 0
    assert records()[0] == [3, 2, 2, 1]
    with FileRecordReader(["out/00001.records"]) as reader:
        assert reader.retrieve(0).dtype == np.int32


ENDS: dict[str, tuple[bytes, list[str]]] = {
    "nothing": (b"", []),
    "no line end": (b"a b", ["a b"]),
    "one blank line": (b"\n", [""]),
    "two blank lines": (b"\n\n", ["", ""]),
    "windows": (b"a b\r\n\r\nc\r\n", ["a b", "", "c"]),
    "a byte order mark": (b"\xef\xbb\xbfa\n\xef\xbb\xbf", ["a", "\ufeff"]),
    "other breaks": ("a\x0bb\u2028c\rd\n".encode(), ["a\x0bb\u2028c\rd"]),
}


@pytest.mark.parametrize("name", ENDS)
def test_line_ends(name: str) -> None:
    r"""A line ends at \n or \r\n and nowhere else, as `wc -l` counts; a tokenizer does not see the end."""
    data, lines = ENDS[name]
    Path("corpus.txt").write_bytes(data)
    assert build("--tokenizer", "builtins:list", "--no-eos") == 0
    vocab = Vocabulary.from_json(Path("out/vocab.json").read_text("utf-8"))
    assert vocab.decode_corpus(records()) == [list(line) for line in lines]
    assert vocab.idx2symbol[:3] == SPECIAL
    assert set(vocab.idx2symbol[3:]) == set("".join(lines))


def test_large_corpora(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines are read and encoded in blocks, whose bounds nobody sees."""
    monkeypatch.setattr("batchup.sequences.corpus._BLOCK", 50)
    monkeypatch.setattr("batchup.sequences.corpus._LINES", 7)
    lines = [" ".join(map(str, range(n % 11))) for n in range(100)]
    Path("corpus.txt").write_text("\n".join([*lines, ""]), encoding="utf-8")
    assert build("--max-symbols", "9", "--records-per-shard", "13") == 0
    vocab = vocabulary_of(lines, 9)
    assert records() == [vocab.encode(line.split(), use_unk=True) for line in lines]


def said(printed: str) -> dict[str, str]:
    return dict(line.split(maxsplit=1) for line in printed.splitlines())


@pytest.mark.parametrize("unknown", ["--use-unk", "--drop-unknown"])
def test_what_is_printed(unknown: str, capsys: pytest.CaptureFixture[str]) -> None:
    """At the end it says how much there is, how much of it is unknown, and what is longest; bars go to stderr."""
    assert build("--max-symbols", "5", unknown, "--records-per-shard", "4") == 0  # with the and sat
    printed, bars = capsys.readouterr()
    assert said(printed) == {
        "sequences": "6",
        "tokens": "19",
        "symbols": "5",
        "unknown": f"{8 / 19:.2%} of the tokens",
        "longest": "8 ids, in line 3" if unknown == "--use-unk" else "6 ids, in line 6",
        "written": "to out: 2 files of records, and vocab.json",
    }
    assert re.search(r"symbols: 100%.*records: 100%", bars, re.DOTALL)


def test_lines_are_counted_through_blocks(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The first of the longest lines is named, and one that is wrong, wherever in the corpus they are."""
    monkeypatch.setattr("batchup.sequences.corpus._BLOCK", 8)
    monkeypatch.setattr("batchup.sequences.corpus._LINES", 2)
    Path("corpus.txt").write_bytes(b"a\nb\na\nb\nc d\na\ne f\nb g\n")
    assert build() == 0
    assert said(capsys.readouterr().out)["longest"] == "3 ids, in line 5"
    Path("corpus.txt").write_bytes(b"a\n" * 9 + b"\xff\n")
    assert build(out="other") == 1
    assert "line 10 is not UTF-8, byte 1 of it" in capsys.readouterr().err


def test_an_empty_corpus(capsys: pytest.CaptureFixture[str]) -> None:
    """A corpus without lines gives no records, and says so."""
    Path("corpus.txt").write_bytes(b"")
    assert build() == 0
    printed = said(capsys.readouterr().out)
    assert (printed["sequences"], printed["symbols"], printed["longest"]) == ("0", "3", "0 ids")
    assert printed["unknown"] == "0.00% of the tokens"
    assert records() == []


def test_a_vocabulary_that_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    """With a vocabulary none is collected, and the corpus is read once; special symbols stand for themselves."""
    vocab = Vocabulary(["<unk>", "P", "E", "sat", "é"], pad_id=1, eos_id=2)
    Path("mine.json").write_text(vocab.to_json(), encoding="utf-8")
    Path("corpus.txt").write_text("é <unk> sat\nno", encoding="utf-8")
    assert build("--vocabulary", "mine.json") == 0
    assert records() == [[4, 0, 3, 2], [0, 2]]
    printed, bars = capsys.readouterr()
    assert said(printed)["unknown"] == "50.00% of the tokens"
    assert "symbols:" not in bars
    assert json.loads(Path("out/vocab.json").read_text("utf-8")) == vocab.state_dict()
    assert build("--vocabulary", "out/vocab.json", out="again") == 0
    assert records("again") == records()


def test_a_tokenizer() -> None:
    """A tokenizer is found in the current folder, with dots too, and may return any iterable of str."""
    tokenizer("my_letters", "class A:\n    @staticmethod\n    def split(text):\n        return iter(text.upper())\n")
    assert build("--tokenizer", "my_letters:A.split") == 0
    vocab = Vocabulary.from_json(Path("out/vocab.json").read_text("utf-8"))
    assert vocab.decode(records()[0]) == [*"THE CAT SAT", "</s>"]


BROKEN_TOKENIZERS: dict[str, tuple[str, str]] = {
    "a str": ("def split(text): return text", "line 1: .*must return a list of str, got 'the cat sat'"),
    "numbers": ("def split(text): return [1]", r"line 1: .*must return a list of str, got \[1\]"),
    "bytes": ("def split(text): return text.encode()", "line 1: .*must return a list of str, got b'the cat"),
    "None": ("def split(text): return None", "line 1: the tokenizer failed: TypeError"),
    "an error": ("def split(text): return [text.split()[0]]", "line 2: the tokenizer failed: IndexError"),
    "no function": ("split = 5", "must be a function, got 5"),
    "another name": ("def splits(text): return []", "cannot be imported: AttributeError: .*split"),
    "no Python": ("def split(", "cannot be imported: SyntaxError"),
}


@pytest.mark.parametrize("name", BROKEN_TOKENIZERS)
def test_broken_tokenizers(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What a tokenizer does wrong is said with the line at which it does."""
    code, wrong = BROKEN_TOKENIZERS[name]
    named = tokenizer("broken_" + name.replace(" ", "_"), code)
    before = there()
    assert build("--tokenizer", named) == 1
    assert re.search(f"batchup: .*{wrong}", capsys.readouterr().err)
    assert there() == before


def damaged(data: bytes) -> Callable[[], None]:
    return lambda: (Path("corpus.txt").write_bytes(data), None)[1]


def in_the_way(name: str) -> Callable[[], None]:
    def make() -> None:
        path = Path(name)
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine", encoding="utf-8")

    return make


def nothing() -> None:
    """Leave all as it is."""


def write(name: str, text: str) -> Callable[[], None]:
    return lambda: (Path(name).write_text(text, encoding="utf-8"), None)[1]


WRONG: dict[str, tuple[Callable[[], None], dict[str, Any], list[str], str]] = {
    "no corpus": (nothing, {"corpus": "no.txt"}, [], "No such file.*no.txt"),
    "a folder": (nothing, {"corpus": "."}, [], r"\. is a folder or a device: name a text file"),
    "a pipe": (lambda: os.mkfifo("pipe"), {"corpus": "pipe"}, [], "pipe is a folder or a device"),
    "latin-1": (damaged("ok\ncaf\xe9\n".encode("latin-1")), {}, [], "corpus.txt: line 2 .*UTF-8, byte 4 .*0xe9"),
    "half a character": (damaged(b"ok\n\n\xe6\xbc"), {}, [], "line 3 is not UTF-8, byte 1 of it is 0xe6"),
    "surrogates": (damaged(b"a\xed\xa0\x80"), {}, [], "line 1 is not UTF-8, byte 2"),
    "special": (damaged(b"a <unk> b\n"), {}, [], "corpus.txt: unk_symbol .*'<unk>'.*vocabulary"),
    "too few symbols": (nothing, {}, ["--max-symbols", "2"], "max_symbols.*at least 3, got 2"),
    "a full folder": (in_the_way("out/a"), {}, [], "out is there already"),
    "a file": (in_the_way("out"), {}, [], "out is there already"),
    "a broken link": (lambda: os.symlink("nowhere/else", "out"), {}, [], "out cannot be made, since .*nowhere"),
    "a file for its partial": (in_the_way("out.partial"), {}, [], "out.partial"),
    "a link for its partial": (lambda: os.symlink(".", "out.partial"), {}, [], "out.partial"),
    "no parent": (nothing, {"out": "no/out"}, [], "no/out cannot be made, since .*no is no folder"),
    "no vocabulary": (nothing, {}, ["--vocabulary", "no.json"], "No such file.*no.json"),
    "no JSON": (write("a.json", "{"), {}, ["--vocabulary", "a.json"], "a.json holds no vocabulary: .*JSON"),
    "other JSON": (write("a.json", "{}"), {}, ["--vocabulary", "a.json"], "a.json holds no vocabulary: .*symbols"),
    "half a pair": (
        write("a.json", json.dumps({"pad_id": 0, "eos_id": 1, "unk_id": 2, "symbols": [*SPECIAL, "\ud800"]})),
        {},
        ["--vocabulary", "a.json"],
        "a.json holds no vocabulary: .*surrogate",
    ),
    "no colon": (nothing, {}, ["--tokenizer", "shlex.split"], "MODULE:FUNCTION, got 'shlex.split'"),
    "no module": (nothing, {}, ["--tokenizer", "no_such_module:f"], "cannot be imported: ModuleNotFoundError"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_built(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """An error is one line on stderr that names what came, with status 1, and nothing is left or touched."""
    prepare, arguments, options, wrong = WRONG[name]
    prepare()
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}, there()
    assert build(*options, **arguments) == 1
    printed, errors = capsys.readouterr()
    assert re.search(rf"^batchup: .*{wrong}", errors, re.MULTILINE)
    assert printed == ""
    assert ({path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}, there()) == before


@pytest.mark.parametrize(
    "options",
    [
        ["--max-symbols", "9", "--vocabulary", "a.json"],
        ["--max-symbols", "0"],
        ["--records-per-shard", "0"],
        ["--format", "zip"],
        ["--use-unk", "--drop-unknown"],
    ],
    ids=" ".join,
)
def test_usage(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Options that contradict each other or are none end with status 2 and the usage."""
    with pytest.raises(SystemExit) as caught:
        build(*options)
    assert caught.value.code == 2
    assert "usage: batchup sequences build" in capsys.readouterr().err
    assert there() == {"corpus.txt"}


@pytest.mark.parametrize("out", ["out", "out/", "a/../out", "{0} {", "empty", "empty/", "link"])
def test_names_of_the_folder(out: str) -> None:
    """The folder may end in a slash, have any name, and be there if it is empty; a link leads to it."""
    for name in ("empty", "a", "target"):
        os.mkdir(name)
    os.symlink("target", "link")
    assert build(out=out) == 0
    assert len(records(out)) == len(LINES)
    assert there() == {"corpus.txt", "empty", "a", "target", "link", os.path.normpath(out)}


def test_a_corpus_that_changes(capsys: pytest.CaptureFixture[str]) -> None:
    """A corpus that is not the same in the second pass is an error, and nothing is left."""
    code = (
        "from pathlib import Path\ncalls = 0\ndef split(text):\n    global calls\n    calls += 1\n"
        f"    if calls == {len(LINES)} + 2:\n"
        "        with Path('corpus.txt').open('a') as file:\n            file.write('more')\n"
        "    return text.split()\n"
    )
    named = tokenizer("appends", code)
    assert build("--tokenizer", named) == 1
    assert "corpus.txt changed while it was read" in capsys.readouterr().err
    assert there() == {"corpus.txt", "appends.py"}


def test_a_folder_that_appears_meanwhile(capsys: pytest.CaptureFixture[str]) -> None:
    """What somebody else puts at the name meanwhile stays."""
    code = "import os\ndef split(text):\n    os.makedirs('out/theirs', exist_ok=True)\n    return text.split()\n"
    assert build("--tokenizer", tokenizer("meddles", code)) == 1
    assert "out is there already" in capsys.readouterr().err
    assert there() == {"corpus.txt", "meddles.py", "out"}
    assert os.listdir("out") == ["theirs"]


def test_what_a_killed_run_left() -> None:
    """The folder of a run that was killed is emptied, and the run begins anew."""
    os.mkdir("out.partial")
    Path("out.partial/00001.records").write_bytes(b"half")
    Path("out.partial/00099.records.partial").write_bytes(b"half")
    assert build() == 0
    assert sorted(os.listdir("out")) == ["00001.records", "vocab.json"]
    assert there() == {"corpus.txt", "out"}
    assert Path("corpus.txt").read_bytes() == TEXT.encode()


@pytest.mark.parametrize("mine", ["folder/inside", "00001.records/mine", "notes.txt", "1.records"])
def test_what_no_run_left(mine: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder of the name that a build would use, with something else in it, is left as it is."""
    path = Path("out.partial", mine)
    path.parent.mkdir(parents=True)
    path.write_text("precious")
    Path("out.partial/00002.records").write_bytes(b"half")
    assert build() == 1
    assert "which no build has made" in capsys.readouterr().err
    assert path.read_text() == "precious"
    assert Path("out.partial/00002.records").exists()


def test_two_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    """A second build of the same folder leaves the first one alone."""
    os.mkdir("out.partial")
    Path("out.partial/00001.records").write_bytes(b"being written")
    descriptor = os.open("out.partial", os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        assert build() == 1
    finally:
        os.close(descriptor)
    assert "another build is writing" in capsys.readouterr().err
    assert Path("out.partial/00001.records").read_bytes() == b"being written"


def started(*options: str) -> subprocess.Popen[str]:
    """Start a build, and wait until it is in the middle of its second pass, where it waits."""
    named = tokenizer(
        "waits",
        "import time\nfrom pathlib import Path\ncalls = 0\ndef split(text):\n    global calls\n    calls += 1\n"
        f"    if calls == {len(LINES)} + 3:\n        Path('waiting').touch()\n        time.sleep(60)\n"
        "    return text.split()\n",
    )
    command = [sys.executable, "-m", "batchup", "sequences", "build", "corpus.txt", "out", "--tokenizer", named]
    run = subprocess.Popen([*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not Path("waiting").exists() and run.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    if run.poll() is not None or not Path("waiting").exists():
        run.kill()
        pytest.fail(run.communicate()[1])
    return run


def test_interrupted() -> None:
    """After Ctrl-C the status is 130, and nothing is left."""
    run = started("--no-eos")
    assert Path("out.partial").is_dir()
    run.send_signal(signal.SIGINT)
    printed, errors = run.communicate(timeout=60)
    assert (run.returncode, printed) == (130, "")
    assert errors.endswith("batchup: interrupted; nothing was built\n")
    assert "Traceback" not in errors
    assert there() == {"corpus.txt", "waits.py", "waiting"}


def test_killed() -> None:
    """After a kill the name is free, and the next run builds what an undisturbed one builds."""
    run = started("--no-eos")
    run.kill()
    run.communicate(timeout=60)
    assert there() == {"corpus.txt", "waits.py", "waiting", "out.partial"}
    assert build("--no-eos") == 0
    assert build("--no-eos", out="undisturbed") == 0
    assert records() == records("undisturbed") != []
    assert there() == {"corpus.txt", "waits.py", "waiting", "out", "undisturbed"}


def test_hdf5() -> None:
    """--format hdf5 writes the same records into HDF5 files."""
    from batchup.sequences import Hdf5RecordReader

    assert build("--format", "hdf5", "--records-per-shard", "4") == 0
    assert sorted(os.listdir("out")) == ["00001.hdf5", "00002.hdf5", "vocab.json"]
    vocab = vocabulary_of(LINES)
    with Hdf5RecordReader(sorted(Path("out").glob("*.hdf5"))) as reader:
        assert reader.metadata("vocab") == vocab.to_json()
        found = [reader.retrieve(index).tolist() for index in reader.indexes()]
    assert found == [vocab.encode(line.split()) for line in LINES]


def test_without_h5py(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Without h5py, --format hdf5 names the command that installs it, before the corpus is read."""
    monkeypatch.setitem(sys.modules, "h5py", None)
    assert build("--format", "hdf5") == 1
    errors = capsys.readouterr().err
    assert 'pip install "batchup[hdf5]"' in errors
    assert "symbols:" not in errors
    assert there() == {"corpus.txt"}
