"""Folders of images: decoded when they are asked for, in any order; and written as PNG files."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup._extras import required
from batchup._repr import Represented
from batchup.errors import BatchUpError, FileFormatError, InvalidValueError
from batchup.formats import rows as row_by_row
from batchup.formats.folders.sink import check_columns, folder_sink
from batchup.formats.folders.table import FolderTable
from batchup.formats.opening import seekable
from batchup.formats.table import Field, Write, refuse
from batchup.typed_files import Image

MODES = ("L", "LA", "RGB", "RGBA", "I;16", "F")
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")  # others run programs: EPS needs Ghostscript
_WIDE = ("I", "I;16B", "I;16L", "I;16N")  # grey of more than 8 bits, beside I;16
_SHAPES: dict[str, tuple[int, ...]] = {"L": (), "LA": (2,), "RGB": (3,), "RGBA": (4,), "I;16": (), "F": ()}
_DTYPES: dict[str, Any] = {"I;16": np.dtype("u2"), "F": np.dtype("f4")}


def read_images(
    *paths: Any,
    columns: Sequence[str] | None = None,
    on_error: str = "raise",
    size: tuple[int, int] | None = None,
    mode: str | None = None,
    labels: bool | Sequence[str] | None = None,
    names: bool = False,
) -> Any:
    """Read the images of a folder, or of some files, in any order; each is decoded when it is asked for.

    The column ``image`` has grey images as (height, width), others as (height, width, channels), of uint8, and of
    uint16 where grey has more than 8 bits, and of float32 where it has floats. If they lie in several folders, the
    column ``label`` (int64) has the number of each one's folder among the sorted names of all. Hidden files and folders
    are left out, and links are followed.

    Of several frames the first is read, and nothing is turned as EXIF says. Black and white are 0 and 255, and PGM
    files are scaled so that white is 255 or 65535. Of colours of 16 bits the upper 8 are kept; palettes become colours
    without their transparency.

    Parameters
    ----------
    *paths : str or path-like
        A folder, whose sub-folders are searched too, or names or patterns of files.
    columns : sequence of str, optional
        Those to read; all by default.
    on_error : {'raise', 'skip'}, default 'raise'
        Whether a file that is no image, or damaged, is an error, or left out.
    size : (int, int), optional
        The width and the height that images are resized to.
    mode : {'L', 'RGB', 'RGBA', 'LA', 'I;16', 'F'}, optional
        The mode of Pillow that images are converted to, as it does: in ``'L'`` and ``'RGB'`` grey above 255 is 255.
    labels : bool or sequence of str, optional
        Whether there are labels, or the names of the folders in the order of their numbers.
    names : bool, default False
        Whether there is a column ``path`` (str), with the names of the files, from the folder on.

    Returns
    -------
    dict of array-like, or Rows
        The columns. With ``on_error='skip'`` rows as dicts, from front to back, those that are whole.

    Raises
    ------
    FileNotFoundError
        If there is no such file or folder.
    FileFormatError
        If a file is no image, or damaged, or of other channels than the first one, or has grey that uint16 does not
        hold. The message names it.

    Examples
    --------
    >>> from batchup.formats import read_images, write_images
    >>> write_images(({"image": np.full((2, 2), n, np.uint8), "label": n % 2} for n in range(4)), "digits")
    >>> columns = read_images("digits")
    >>> columns["image"][[3, 0]].tolist(), columns["label"][[3, 0]].tolist()
    ([[[3, 3], [3, 3]], [[0, 0], [0, 0]]], [1, 0])
    """
    table = ImagesTable(paths, on_error=on_error, size=size, mode=mode, labels=labels, names=names)
    return table.read(columns)


def write_images(
    items: Iterable[Any],
    path: Any,
    image: str = "image",
    label: str = "label",
    meta: dict[str, Any] | None = None,
) -> None:
    """Write images to a folder, as PNG files: ``<label>/<row>.png``, or ``<row>.png`` if there are no labels.

    A hidden file, ``.batchup.json``, keeps the order of the rows, the numbers of the labels, and the dtypes.

    Parameters
    ----------
    items : iterable of dict
        The rows: an image of uint8, (height, width) or (height, width, 1, 3 or 4), or of uint16 (height, width); and,
        if there are labels, an integer.
    path : str or path-like
        Name of the folder. If it is there it must be empty, or written by batchup; it is replaced once the new one is
        whole.
    image, label : str
        The names of the columns. They are read as ``image`` and ``label``.
    meta : dict, optional
        What else to keep; ``labels``, a list of str, are the names of the labels, and of their folders.

    Raises
    ------
    InvalidTypeError, InvalidValueError
        If an item is no row, or differs from the first ones, or there are other columns.

    Examples
    --------
    >>> import os
    >>> from batchup.formats import write_images
    >>> write_images([{"x": np.zeros((2, 2), np.uint8), "y": 1}], "pets", "x", "y", meta={"labels": ["cat", "dog"]})
    >>> os.listdir("pets/dog")
    ['000000000.png']
    """
    row_by_row.write(items, images_sink, path, image=image, label=label, meta=meta)


class ImagesTable(FolderTable):
    """The images of a folder, or of some files.

    Parameters
    ----------
    path : str, or sequence of str
        Name of the folder; names or patterns of files.
    on_error, size, mode, labels, names
        As for `read_images`.
    """

    what = "images"
    pattern = Image.__re__
    remedy = "convert them (mode=), or read them apart"

    def __init__(
        self,
        path: Any,
        *,
        on_error: str = "raise",
        size: tuple[int, int] | None = None,
        mode: str | None = None,
        labels: bool | Sequence[str] | None = None,
        names: bool = False,
    ) -> None:
        decoder = ImageDecoder(mode, size)
        self._asked = mode is not None or size is not None
        super().__init__(path, "image", decoder, on_error, labels, names)

    def _changed(self) -> bool:
        return self._asked


class ImageDecoder(Represented):
    """Makes arrays of image files.

    Parameters
    ----------
    mode : str, optional
        What they are converted to.
    size : (int, int), optional
        The width and the height that they are resized to.
    """

    def __init__(self, mode: str | None = None, size: Any = None) -> None:
        required("PIL.Image", "image", "reading images")
        if mode is not None and mode not in MODES:
            raise InvalidValueError(f"mode must be one of {MODES}, got {mode!r}")
        if size is not None and not (len(size) == 2 and all(isinstance(side, int) and side > 0 for side in size)):
            raise InvalidValueError(f"size must be a width and a height, got {size!r}")
        self.mode = mode
        self.size = None if size is None else tuple(size)

    def __call__(self, path: str) -> NDArray[Any]:
        """Return the pixels of a file."""
        with seekable(path) as file:
            return self.decoded(file)

    def header(self, path: str) -> tuple[Field, dict[str, Any]]:
        """Return what the pixels of a file will be, and nothing else."""
        with seekable(path) as file, _opened(file) as image:
            mode = self._mode_of(image)
            width, height = self.size or image.size
            return Field(_DTYPES.get(mode, np.dtype("u1")), (height, width, *_SHAPES[mode])), {}

    def decoded(self, file: Any) -> NDArray[Any]:
        """Return the pixels that an open file stands for."""
        with _opened(file) as image:
            mode = self._mode_of(image)
            return Image(mode, self.size).pixels(image if mode == "F" and image.mode == "I" else _narrowed(image))

    def _mode_of(self, image: Any) -> str:
        """Return the mode that an image is converted to."""
        if self.mode is None and image.mode == "1":
            return "L"
        if self.mode is None and image.mode in _WIDE:
            return "I;16"
        return Image(self.mode).mode_of(image)


def _narrowed(image: Any) -> Any:
    """Return an image whose wide grey is I;16, which Pillow can convert and resize; another one as it is."""
    if image.mode not in _WIDE:
        return image
    pixels = np.asarray(image)
    if pixels.size and not (pixels.min() >= 0 and pixels.max() < 2**16):
        raise FileFormatError(
            f"has grey from {pixels.min()} to {pixels.max()}, which uint16 does not hold: mode='F' reads it as float32"
        )
    return required("PIL.Image", "image", "reading images").fromarray(pixels.astype(np.uint16))


@contextlib.contextmanager
def _opened(file: Any) -> Iterator[Any]:
    """Open an image of Pillow; what goes wrong with it is a FileFormatError."""
    pillow = required("PIL.Image", "image", "reading images")
    try:
        with pillow.open(file, formats=_FORMATS) as image:
            yield image
    except (BatchUpError, MemoryError):
        raise
    except pillow.UnidentifiedImageError:
        raise FileFormatError(f"is no image of the kinds that are read: {', '.join(_FORMATS)}") from None
    except (pillow.DecompressionBombError, pillow.DecompressionBombWarning) as error:
        raise FileFormatError(
            f"has more pixels than Pillow takes for safe: set PIL.Image.MAX_IMAGE_PIXELS if you trust it ({error})"
        ) from None
    except Exception as error:  # Pillow raises many kinds
        raise FileFormatError(f"is a damaged image: {error}") from error


def images_sink(
    path: Any,
    fields: Mapping[str, Field],
    *,
    rows: int | None = None,
    meta: dict[str, Any] | None = None,
    image: str = "image",
    label: str = "label",
) -> contextlib.AbstractContextManager[Write]:
    """Open a folder for blocks of images; see `write_images`.

    Parameters
    ----------
    path, fields, rows, meta
        As for any `Sink`.
    image, label : str
        The names of the columns.
    """
    check_columns(fields, "images", image, label)
    check_png(image, fields[image])
    names = {image: "image", label: "label"}
    return folder_sink(path, ".png", fields, lambda row: encoded_png(row[image]), names, rows, meta)


def check_png(name: str, field: Field) -> None:
    """Refuse a column that PNG files cannot hold as it is."""
    sides = len(field.shape)
    grey = sides == 2 or (sides == 3 and field.shape[2] in (1, None))
    coloured = sides == 3 and field.shape[2] in (3, 4)
    wide = field.dtype.kind == "u" and field.dtype.itemsize == 2 and sides == 2
    if 0 in field.shape or not (wide or (field.dtype == np.uint8 and (grey or coloured))):
        what = "PNG files hold uint8 (h, w) or (h, w, 1, 3 or 4), and uint16 (h, w)"
        refuse(what, name, field, "write another format, such as .npz or .h5")


def encoded_png(image: NDArray[Any]) -> bytes:
    """Return the bytes of a PNG file of an image; an InvalidValueError if there can be none."""
    if image.size == 0 or (image.ndim == 3 and image.shape[2] not in (1, 3, 4)):
        raise InvalidValueError(f"PNG files hold (h, w) or (h, w, 1, 3 or 4), and none of them 0, got {image.shape}")
    pillow = required("PIL.Image", "image", "writing images")
    plain = image[..., 0] if image.ndim == 3 and image.shape[2] == 1 else image
    file = io.BytesIO()
    # the first level: in half the time of the default one, and a tenth larger
    pillow.fromarray(np.ascontiguousarray(plain, plain.dtype.newbyteorder("="))).save(file, "PNG", compress_level=1)
    return file.getvalue()
