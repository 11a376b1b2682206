"""A contact sheet: some images of each class, in a row behind its name."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup._extras import required
from batchup.errors import InvalidValueError
from batchup.formats.whole import whole_file

_GAP = 4  # pixels
_SMALLEST = 48  # pixels of an image on the sheet
_ROWS = 20  # in a column of classes
_LETTER = 14  # pixels


def write_sheet(data: Any, path: str, part: str = "train", per_class: int = 10, seed: int = 0) -> tuple[int, int]:
    """Write a PNG file with images of each class of a data set.

    Parameters
    ----------
    data : object
        With the attributes ``<part>_X``, ``<part>_y`` (or X and y), and `class_names`.
    path : str
        The name of the file. If it is there it is replaced, once the new one is whole.
    part : str, default 'train'
        Of which part: ``'train'``, ``'val'`` or ``'test'``.
    per_class : int, default 10
        How many images of each class; fewer if there are not so many.
    seed : int, default 0
        By which they are drawn.

    Returns
    -------
    (int, int)
        Width and height in pixels.

    Raises
    ------
    InvalidValueError
        If there are no images.
    MissingExtraError
        If Pillow is not installed.
    """
    X, y = getattr(data, f"{part}_X", None), getattr(data, f"{part}_y", None)
    if X is None or y is None:
        X, y = data.X, data.y
    if not len(y):
        raise InvalidValueError(f"there are no images of the part {part!r}")
    rng = np.random.default_rng(seed)
    rows = []
    for number, name in enumerate(data.class_names):
        places = np.flatnonzero(y == number)
        rows.append((name, X[np.sort(rng.permutation(places)[:per_class])]))
    sheet = _drawn(rows, max(len(images) for _, images in rows), X.shape[1:])
    with whole_file(path) as file:
        sheet.save(file, "PNG")
    return sheet.size  # type: ignore[no-any-return]


def _drawn(rows: list[tuple[str, NDArray[Any]]], per_class: int, shape: tuple[int, ...]) -> Any:
    """Return the sheet as an image of Pillow."""
    names = ("Image", "ImageDraw", "ImageFont")
    image, draw, fonts = (required(f"PIL.{name}", "image", "a contact sheet") for name in names)
    font = fonts.load_default(_LETTER)
    times = max(1, math.ceil(_SMALLEST / shape[1]))
    height, width = shape[1] * times + _GAP, shape[2] * times + _GAP
    label = max(math.ceil(font.getlength(name)) for name, _ in rows) + 3 * _GAP
    columns, lines = -(-len(rows) // _ROWS), min(len(rows), _ROWS)
    sheet = image.new("RGB", (columns * (label + per_class * width + _GAP) + _GAP, lines * height + _GAP), "white")
    pen = draw.Draw(sheet)
    for number, (name, images) in enumerate(rows):
        left = (number // _ROWS) * (label + per_class * width + _GAP) + _GAP
        top = number % _ROWS * height + _GAP
        pen.text((left + label - 2 * _GAP, top + (height - _GAP) // 2), name, "black", font, anchor="rm")
        for place, pixels in enumerate(_pixels(images)):
            one = image.fromarray(pixels).resize((width - _GAP, height - _GAP), image.Resampling.NEAREST)
            sheet.paste(one, (left + label + place * width, top))
    return sheet


def _pixels(images: NDArray[Any]) -> NDArray[np.uint8]:
    """Return images as bytes, channels last, as dark or bright as they can be told apart."""
    low, high = float(images.min(initial=0)), float(images.max(initial=1))
    scaled = ((images - low) * (255 / (high - low))).round().astype(np.uint8)
    coloured: NDArray[np.uint8] = np.repeat(scaled, 3 // images.shape[1], axis=1).transpose(0, 2, 3, 1)
    return coloured
