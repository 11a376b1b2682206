"""What `batchup sequences build` does: a text corpus becomes a folder of record files and their vocabulary."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import sys
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from itertools import chain, islice
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from batchup._extras import required
from batchup._files import PARTIAL, is_named, sync_folder
from batchup._numbers import whole_number
from batchup.columns.ragged import Ragged
from batchup.errors import FileBusyError, FileFormatError, InvalidTypeError, InvalidValueError, UnsupportedError
from batchup.sequences.collector import VocabularyCollector
from batchup.sequences.hdf5 import Hdf5RecordWriter
from batchup.sequences.record_file import FileRecordWriter
from batchup.sequences.sharded import ShardedWriter, braced
from batchup.sequences.vocabulary import NUM_SPECIAL, Vocabulary

FORMATS = ("records", "hdf5")
_OURS = re.compile(r"(\d{5,}\.(records|hdf5)|vocab\.json)(\.partial)?")  # what a build makes
_BLOCK = 2**20  # bytes that are read at a time, or a line if that is longer
_LINES = 1024  # that are encoded together


@dataclass
class Report:
    """What was built."""

    folder: str
    symbols: int
    shards: int = 0
    sequences: int = 0
    tokens: int = 0
    unknown: int = 0
    longest: int = 0
    longest_line: int = 0

    def lines(self) -> list[str]:
        """Return what to print."""
        where = f", in line {self.longest_line}" if self.sequences else ""
        return [
            f"sequences  {self.sequences:,}",
            f"tokens     {self.tokens:,}",
            f"symbols    {self.symbols:,}",
            f"unknown    {self.unknown / max(self.tokens, 1):.2%} of the tokens",
            f"longest    {self.longest:,} ids{where}",
            f"written to {self.folder}: {self.shards} file{'s' * (self.shards != 1)} of records, and vocab.json",
        ]

    def count(self, ids: Ragged, tokens: int, unk_id: int, add_eos: bool) -> None:
        """Count the next sequences, and the tokens that they are made of."""
        if ids.lengths.max() > self.longest or not self.sequences:
            self.longest = int(ids.lengths.max())
            self.longest_line = self.sequences + int(ids.lengths.argmax()) + 1
        dropped = tokens - (len(ids.values) - add_eos * len(ids))
        self.unknown += dropped + int(np.count_nonzero(ids.values == unk_id))
        self.tokens += tokens
        self.sequences += len(ids)


def build(
    corpus: str,
    folder: str,
    *,
    max_symbols: int | None = None,
    tokenizer: str | None = None,
    vocabulary: str | None = None,
    records_per_shard: int,
    file_format: str,
    use_unk: bool,
    add_eos: bool,
) -> Report:
    """Write a record for each line of a text file; `folder` has its name when all is done.

    Parameters
    ----------
    corpus : str
        Name of a UTF-8 file. It is read twice, or once if there is a vocabulary.
    folder : str
        What must not exist, or be an empty folder.
    max_symbols : int, optional
        How many symbols the vocabulary may have, with the three special ones.
    tokenizer : str, optional
        ``'module:function'``: what makes a list of tokens of a line, instead of `str.split`.
    vocabulary : str, optional
        Name of a JSON file with a vocabulary, instead of one that is collected.
    records_per_shard : int
        How many records a file may have.
    file_format : {'records', 'hdf5'}
        Of which kind the files are.
    use_unk, add_eos : bool
        As for `Vocabulary.encode`.
    """
    if max_symbols is not None:
        whole_number(max_symbols, "max_symbols", NUM_SPECIAL)
    whole_number(records_per_shard, "records_per_shard", 1)
    writer_class = _writer_class(file_format)
    tokenize = str.split if tokenizer is None else _imported(tokenizer)
    known = None if vocabulary is None else _read_vocabulary(vocabulary)
    with Corpus(corpus, tokenize) as lines, _folder_in_the_making(folder) as partial:
        vocab = _collected(lines, max_symbols) if known is None else known
        report = Report(folder, len(vocab))
        template = os.path.join(braced(partial), "{:05d}." + file_format)
        _write_records(lines, vocab, writer_class, template, records_per_shard, use_unk, add_eos, report)
        _write_vocabulary(vocab, os.path.join(partial, "vocab.json"))
        report.shards = len(os.listdir(partial)) - 1
    return report


class Corpus:
    """The lines of a text file, which must be the same whenever they are read.

    Parameters
    ----------
    path : str
        Name of the file.
    tokenize : callable
        What makes tokens of a line, without its end.
    """

    def __init__(self, path: str, tokenize: Callable[[str], list[str]]) -> None:
        if os.path.exists(path) and not os.path.isfile(path):
            raise InvalidValueError(f"{path} is a folder or a device: name a text file, which can be read twice")
        self.path = path
        self._tokenize = tokenize
        self._file = open(path, "rb")  # noqa: SIM115  `__exit__` closes it
        self._checksum: int | None = None

    def __enter__(self) -> Corpus:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def sentences(self, what: str) -> Generator[list[str], None, None]:
        """Yield the tokens of each line, while a bar shows how much has been read."""
        self._file.seek(0)
        number = checksum = 0
        size = os.fstat(self._file.fileno()).st_size
        with tqdm(desc=what, total=size, unit="B", unit_scale=True, unit_divisor=1024) as bar:
            while block := self._file.readlines(_BLOCK):
                for number, line in enumerate(block, start=number + 1):  # noqa: B020  it runs on
                    yield self._tokens(line, number)
                data = b"".join(block)
                checksum = zlib.crc32(data, checksum)
                bar.update(len(data))
        if self._checksum not in (None, checksum):
            raise FileFormatError(f"{self.path} changed while it was read: begin again when nobody writes to it")
        self._checksum = checksum

    def _tokens(self, line: bytes, number: int) -> list[str]:
        try:
            text = line.decode()
        except UnicodeDecodeError as error:
            found = f"byte {error.start + 1} of it is 0x{line[error.start]:02x}"
            raise FileFormatError(f"{self.path}: line {number} is not UTF-8, {found}: convert the file") from None
        if number == 1:
            text = text.removeprefix("\ufeff")
        text = text.removesuffix("\n").removesuffix("\r")
        try:
            return self._tokenize(text)
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
            raise InvalidValueError(f"{self.path}: line {number}: the tokenizer failed: {said}") from error


def _imported(name: str) -> Callable[[str], list[str]]:
    """Return the tokenizer of a name, from what is installed or lies in the current folder."""
    module, _, function = name.partition(":")
    if not module or not function:
        raise InvalidValueError(f"the tokenizer must be MODULE:FUNCTION, got {name!r}")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        found = attrgetter(function)(importlib.import_module(module))
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
        raise InvalidValueError(f"the tokenizer {name!r} cannot be imported: {said}") from error
    if not callable(found):
        raise InvalidTypeError(f"the tokenizer {name!r} must be a function, got {found!r}")

    def tokenize(text: str) -> list[str]:
        tokens = found(text)
        listed = [] if isinstance(tokens, str) else list(tokens)
        if isinstance(tokens, str) or not all(isinstance(token, str) for token in listed):
            raise InvalidTypeError(f"it must return a list of str, got {tokens!r}")
        return listed

    return tokenize


def _read_vocabulary(path: str) -> Vocabulary:
    try:
        vocab = Vocabulary.from_json(Path(path).read_text("utf-8"))
        vocab.to_json().encode()  # half a surrogate pair can be read, but not written
    except ValueError as error:
        raise InvalidValueError(f"{path} holds no vocabulary: {error}") from error
    return vocab


def _write_vocabulary(vocab: Vocabulary, path: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(vocab.to_json(indent=1) + "\n")
        file.flush()
        os.fsync(file.fileno())


def _collected(corpus: Corpus, max_symbols: int | None) -> Vocabulary:
    collector = VocabularyCollector()
    with closing(corpus.sentences("symbols")) as sentences:
        collector.add_symbols(chain.from_iterable(sentences))
    try:
        return collector.consolidate(max_symbols)
    except InvalidValueError as error:
        raise InvalidValueError(f"{corpus.path}: {error}; or build with a vocabulary that is there") from error


def _write_records(
    corpus: Corpus,
    vocab: Vocabulary,
    writer_class: Any,
    template: str,
    records_per_shard: int,
    use_unk: bool,
    add_eos: bool,
    report: Report,
) -> None:
    with (
        closing(corpus.sentences("records")) as sentences,
        ShardedWriter(writer_class, template, records_per_shard) as writer,
    ):
        writer.add_metadata({"vocab": vocab.to_json()})
        while chunk := list(islice(sentences, _LINES)):
            ids = vocab.encode_corpus(chunk, use_unk, add_eos)
            writer.extend(ids)
            report.count(ids, sum(map(len, chunk)), vocab.unk_id, add_eos)


def _writer_class(file_format: str) -> Any:
    if file_format not in FORMATS:
        raise InvalidValueError(f"file_format must be one of {FORMATS}, got {file_format!r}")
    if file_format == "records":
        return FileRecordWriter
    required("h5py", "hdf5", "the format 'hdf5'")
    return Hdf5RecordWriter


@contextmanager
def _folder_in_the_making(name: str) -> Iterator[str]:
    """Give an empty folder that takes its name at the end of the block; if that fails, nothing is left."""
    path = os.path.realpath(name)
    _check_free(path, name)
    partial = path + PARTIAL
    descriptor = _taken(partial)
    try:
        _empty(partial)
    except BaseException:
        os.close(descriptor)
        raise
    try:
        yield partial
        os.fsync(descriptor)
        _check_free(path, name)
        with suppress(FileNotFoundError):
            os.rmdir(path)
        os.rename(partial, path)
        sync_folder(path)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    finally:
        os.close(descriptor)


def _check_free(path: str, name: str) -> None:
    if not os.path.isdir(os.path.dirname(path)):
        raise InvalidValueError(f"{name} cannot be made, since {os.path.dirname(path)} is no folder: make that first")
    if os.path.lexists(path) and (not os.path.isdir(path) or os.path.ismount(path) or os.listdir(path)):
        raise InvalidValueError(f"{name} is there already: remove it, or name what is not there or an empty folder")


def _taken(partial: str) -> int:
    """Return the descriptor of a folder that is ours alone, as long as that is open."""
    if not hasattr(os, "O_DIRECTORY"):
        raise UnsupportedError("building record files needs a POSIX system (Linux, macOS)")
    import fcntl

    with suppress(FileExistsError):
        os.mkdir(partial)
    descriptor = os.open(partial, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        alone = is_named(descriptor, partial)
    except OSError as error:
        alone = not isinstance(error, BlockingIOError)  # but there are no locks here
    if not alone:
        os.close(descriptor)
        raise FileBusyError(f"another build is writing to {partial}: wait until it has ended")
    return descriptor


def _empty(folder: str) -> None:
    """Remove what a build has left that was killed; an error if there is anything else."""
    entries = list(os.scandir(folder))
    for entry in entries:
        if not _OURS.fullmatch(entry.name) or not entry.is_file(follow_symlinks=False):
            raise InvalidValueError(f"{folder} holds {entry.name!r}, which no build has made: take it out of the way")
    for entry in entries:
        os.remove(entry.path)
