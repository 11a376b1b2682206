"""What `batchup files images` and `batchup files sounds` do: folders of files become one typed file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup._extras import required
from batchup.errors import FileFormatError, InvalidValueError
from batchup.typed_files.feature import Feature
from batchup.typed_files.features import DirLabels, Image, Sound, VShape
from batchup.typed_files.layout import h5py
from batchup.typed_files.picture import picture
from batchup.typed_files.typed_file import TypedFile, typedfile
from batchup.typed_files.walker import FileWalker

LABELS = "labels"
SHOWN = 12  # names of labels, at most


@dataclass
class Report:
    """What is in the file now, and how it got there.

    Attributes
    ----------
    what : str
        ``'images'`` or ``'sounds'``.
    path : str
        Name of the file.
    added, present : int
        How many files were put into it, and how many of those that were found it had already.
    skipped : dict of str to str
        What was left out, and why.
    empty : list of str
        The folders in which nothing was found.
    labels : list of str
        The names of the directories, in the order of their labels.
    size : int
        Bytes of the file.
    picture : str
        What `TypedFile.info` prints.
    """

    what: str
    path: str
    added: int = 0
    present: int = 0
    skipped: dict[str, str] = field(default_factory=dict)
    empty: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    size: int = 0
    picture: str = ""

    def lines(self) -> list[str]:
        """Return what to print."""
        names = self.labels[:SHOWN] + ["..."] * (len(self.labels) > SHOWN)
        lines = [f"{self.what}     {self.added:,}" + f", and {self.present:,} were there" * bool(self.present)]
        lines += [f"labels     {len(self.labels):,}: {', '.join(names)}"]
        lines += [f"skipped    {len(self.skipped):,}"] * bool(self.skipped)
        return [*lines, f"written to {self.path}: {self.size:,} bytes", "", *self.picture.splitlines()]

    def warnings(self) -> list[str]:
        """Return what to print where errors go."""
        nothing = [f"{folder} holds no {self.what}" for folder in self.empty]
        return nothing + [f"skipped: {error.partition(': ')[2]}" for error in self.skipped.values()]


def images(
    out: str,
    folders: Sequence[str],
    *,
    size: tuple[int, int] | None = None,
    mode: str | None = None,
    vshape: bool = False,
    append: bool = False,
    **how: Any,
) -> Report:
    """Put images into a file, with labels by directory.

    Parameters
    ----------
    out : str
        Name of the file.
    folders : sequence of str
        Where the images are; images themselves, too.
    size, mode
        As for `Image`.
    vshape : bool, default False
        Whether they may be of any size.
    append : bool, default False
        Whether they are added to a file that is there, which then says what of the above is not given.
    **how
        Of `TypedFile.create`: ``n_workers``, ``parallelism``, ``on_error``, ``resume``, ``progress``.
    """
    required("PIL.Image", "image", "batchup files images")
    bank = Bank("images", out, append)
    told = bank.told({"mode": mode, "size": size})
    shaped = bank.flag("vshape", vshape, bank.holds("images/arr"))
    base = Image(told["mode"], told["size"] if told["size"] is None else (int(told["size"][0]), int(told["size"][1])))
    remedy = "--size WxH and --mode L or RGB make images alike, --vshape stores them as they are"
    return bank.made(folders, base, shaped, remedy, how)


def sounds(
    out: str,
    folders: Sequence[str],
    *,
    sample_rate: int | None = None,
    mono: bool = False,
    append: bool = False,
    **how: Any,
) -> Report:
    """Put wav files into a file, with labels by directory.

    Parameters
    ----------
    out : str
        Name of the file.
    folders : sequence of str
        Where the sounds are; wav files themselves, too.
    sample_rate, mono
        As `sr` and `mono` for `Sound`.
    append, **how
        As for `images`.
    """
    bank = Bank("sounds", out, append)
    told = bank.told({"sr": sample_rate})
    base = Sound(None if told["sr"] is None else int(told["sr"]), bank.flag("mono", mono, bank.attribute("mono")))
    return bank.made(folders, base, False, "--mono makes one channel of several", how)


class Bank:
    """A file that is to be made, or to be added to.

    Parameters
    ----------
    what : str
        The name of the feature that files are loaded into.
    path : str
        Name of the file.
    append : bool
        Whether it may be there.
    """

    def __init__(self, what: str, path: str, append: bool) -> None:
        h5py()
        if os.path.lexists(path) and not append:
            raise InvalidValueError(f"{path} is there already: --append adds to it, or name what is not there")
        folder = os.path.dirname(os.path.abspath(path))
        if not os.path.isdir(folder):
            raise InvalidValueError(f"{path} cannot be made, since {folder} is no folder: make that first")
        self._what = what
        self._path = path
        self._there = TypedFile(path) if os.path.exists(path) else None
        self._known = set() if self._there is None else set(self._there.index)

    def holds(self, name: str) -> bool:
        """Return whether the file has such a feature."""
        if self._there is None:
            return False
        try:
            return self._there.get_proxy(name) is not None
        except AttributeError:
            return False

    def attribute(self, key: str) -> Any:
        """Return an attribute of the feature in the file; None if it has none."""
        return self._there.get_proxy(self._what).attrs.get(key) if self._there and self.holds(self._what) else None

    def told(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return options, those that are None from the file; an error if the file has another one."""
        if not self.holds(self._what):
            return dict(options)
        return {key: self._agreed(key, value) for key, value in options.items()}

    def _agreed(self, key: str, value: Any) -> Any:
        there = self.attribute(key)
        if value is not None and not np.array_equal(value, there):
            was = "none" if there is None else there.tolist() if hasattr(there, "tolist") else there
            raise InvalidValueError(f"the {self._what} of {self._path} were made with {key} {was}, got {value}")
        return there

    def flag(self, name: str, wanted: bool, there: Any) -> bool:
        """Return whether something is to be done that the file, if there is one, says of itself."""
        if self.holds(self._what) and wanted and not there:
            raise InvalidValueError(f"the {self._what} of {self._path} were made without --{name}")
        return wanted or bool(there)

    def made(self, folders: Sequence[str], base: Feature, shaped: bool, remedy: str, how: Mapping[str, Any]) -> Report:
        """Load what is in folders into the file; return what there is to tell."""
        report = Report(self._what, self._path)
        found = self._found(folders, base, report)
        new = [source for source in found if source not in self._known]
        report.present = len(found) - len(new)
        skips = how.get("on_error") == "skip"
        feature: Feature = Checked(base, remedy, skips, *self._alike(new, base, shaped, skips))
        schema = {self._what: VShape(feature) if shaped else feature, LABELS: DirLabels()}
        with typedfile(self._what.capitalize(), schema).create(self._path, new, "a", **how) as file:
            report.skipped = file.skipped
            report.added = len(new) - len(file.skipped)
            report.labels = [str(name) for name in file.get_proxy(LABELS).attrs.get("names", [])]
            report.picture = picture(file)
        report.size = os.path.getsize(self._path)
        return report

    def _found(self, folders: Sequence[str], base: Feature, report: Report) -> list[str]:
        """Return the paths of the files, each once, as the folders were named."""
        found: dict[str, None] = {}
        for folder in folders:
            paths = [os.path.normpath(path) for path in FileWalker(base.__re__, folder, abspath=False)]
            if not paths:
                report.empty.append(folder)
            found.update(dict.fromkeys(paths))
        if not found:
            endings = base.__re__[base.__re__.index(".") :].strip(".()$").replace("?", "").replace("|", ", ")
            raise InvalidValueError(f"no {self._what} in {', '.join(folders)} (files that end on {endings})")
        return list(found)

    def _alike(
        self, sources: Sequence[str], base: Feature, shaped: bool, skips: bool
    ) -> tuple[np.dtype[Any] | None, tuple[int, ...] | None]:
        """Return the dtype and the shape of a row that all arrays must have: those of the file, or of the first one."""
        name = self._what + "/arr" * shaped
        if self._there is not None and self.holds(f"{name}/__arr__"):
            like = self._there.get_proxy(name)
            return like.dtype, None if shaped else like.shape[1:]
        if not sources:
            return None, None
        first = self._first(sources, Checked(base, "", skips), skips)
        return first.dtype, None if shaped else first.shape[1:]

    def _first(self, sources: Sequence[str], feature: Feature, skips: bool) -> NDArray[Any]:
        """Return the first array; of those that can be read, if errors are skipped."""
        for source in sources:
            try:
                array: NDArray[Any] = feature.load(source)
                return array
            except (FileFormatError, InvalidValueError) as found:
                if not skips:
                    raise
                error = found
        raise InvalidValueError(f"none of the {len(sources):,} {self._what} can be read; of the last one: {error}")


class Checked(Feature):
    """A feature whose errors name the source; among them is that an array is not like the others.

    Parameters
    ----------
    base : Feature
        What loads.
    remedy : str
        What to do about arrays that are not alike.
    skips : bool
        Whether errors are to be skipped.
    dtype, row : optional
        What the arrays are to be of, and the shape that they must have behind their first axis.
    """

    def __init__(
        self,
        base: Feature,
        remedy: str,
        skips: bool,
        dtype: np.dtype[Any] | None = None,
        row: tuple[int, ...] | None = None,
    ) -> None:
        self.base = base
        self.remedy = remedy
        self.skips = skips
        self.dtype = dtype
        self.row = row
        self.__re__ = base.__re__

    def __repr__(self) -> str:
        return f"{type(self.base).__name__}({dict(self.attrs)})"

    @property
    def attrs(self) -> Mapping[str, Any]:
        return self.base.attrs

    def load(self, source: str) -> NDArray[Any]:
        try:
            return self._alike(source, self._loaded(source))
        except (FileFormatError, InvalidValueError) as error:
            hint = "" if self.skips else "; --skip-errors leaves it out"
            raise type(error)(f"{error}{hint}") from error

    def _loaded(self, source: str) -> NDArray[Any]:
        try:
            return np.asarray(self.base.load(source))
        except (FileFormatError, InvalidValueError):
            raise
        except Exception as error:  # Pillow raises many kinds for files that are broken
            raise FileFormatError(f"{source} cannot be read ({type(error).__name__}: {error})") from error

    def _alike(self, source: str, array: NDArray[Any]) -> NDArray[Any]:
        if self.row is not None and array.shape[1:] != self.row:
            rows = ", ".join(map(str, ("n", *self.row)))
            raise InvalidValueError(f"{source} has the shape {array.shape}, the others have ({rows}): {self.remedy}")
        if self.dtype is not None and array.dtype != self.dtype:
            raise InvalidValueError(f"{source} is of {array.dtype}, the others are of {self.dtype}: {self.remedy}")
        return array
