"""JPEGs in memory, and the one way in which they are decoded here."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

SIDE = 256
CROP = slice(16, 240)
QUALITY = 90
BITS = 14
BLOCK = 16
NOISES = 16
ALIGNED = 64
OFF = 16


class Jpegs:
    """JPEGs in one buffer, as an array-like: asked for rows, it decodes them and cuts out their middle."""

    def __init__(self, buffer: Pixels, offsets: NDArray[np.int64]) -> None:
        self.buffer = buffer
        self.offsets = offsets
        self.dtype = np.dtype(np.uint8)
        self.shape = (len(self), *crop_shape())

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def encoded(self, index: int) -> Pixels:
        """Give the bytes of one JPEG."""
        return self.buffer[self.offsets[index] : self.offsets[index + 1]]

    def decoded(self, index: int) -> Pixels:
        """Decode one JPEG and cut out its middle."""
        return decode(self.encoded(index))

    def gather(self, indices: NDArray[np.intp], out: Pixels | None = None) -> Pixels:
        """Decode the JPEGs at `indices` into `out`."""
        batch = np.empty((len(indices), *crop_shape()), np.uint8) if out is None else out
        for place, index in enumerate(indices.tolist()):
            batch[place] = self.decoded(index)
        return batch

    def __getitem__(self, indices: NDArray[np.intp]) -> Pixels:
        return self.gather(np.asarray(indices, np.intp))


def crop_shape() -> tuple[int, int, int]:
    """Tell the shape of what is cut out."""
    side = CROP.stop - CROP.start
    return side, side, 3


def decode(encoded: Any) -> Pixels:
    """Decode a JPEG with simplejpeg into memory of its own, and cut out its middle.

    Into memory that begins at a multiple of 32 bytes, libjpeg-turbo writes past the caches, and the crop is read from
    memory then: 15 to 20% slower. Where malloc puts things is chance and differs between main programs, threads and
    workers, so it is settled here for all.
    """
    codec: Any = importlib.import_module("simplejpeg")
    memory = np.empty(SIDE * SIDE * 3 + ALIGNED, np.uint8)
    start = -memory.ctypes.data % ALIGNED + OFF
    return codec.decode_jpeg(encoded, buffer=memory[start : start + SIDE * SIDE * 3])[CROP, CROP]


def make_jpegs(number: int) -> Jpegs:
    """Make JPEGs, all different, of smooth colours with noise, each with its number as a bar of 14 blocks."""
    codec: Any = importlib.import_module("simplejpeg")
    rng = np.random.default_rng(0)
    noises = rng.normal(0, 6, (NOISES, SIDE, SIDE, 1)).astype(np.float32)
    encoded = [codec.encode_jpeg(_image(rng, noises[i % NOISES], i), quality=QUALITY) for i in range(number)]
    offsets = np.cumsum([0, *map(len, encoded)])
    return Jpegs(np.frombuffer(b"".join(encoded), np.uint8), offsets)


def _image(rng: np.random.Generator, noise: NDArray[np.float32], number: int) -> Pixels:
    coarse = rng.uniform(30, 225, (8, 8, 3)).astype(np.float32)
    along = _enlargement()
    smooth = np.tensordot(along, np.tensordot(along, coarse, (1, 0)), (1, 1)).transpose(1, 0, 2)
    image = np.ascontiguousarray(np.clip(smooth + noise, 0, 255).astype(np.uint8))
    _bar(image[CROP, CROP])[:] = 255 * np.repeat(number >> np.arange(BITS) & 1, BLOCK)[None, :, None]
    return image


def _enlargement() -> NDArray[np.float32]:
    """Make the matrix that enlarges 8 values to 256 by linear interpolation."""
    places = np.linspace(0, 7, SIDE, dtype=np.float32)[:, None]
    return np.clip(1 - np.abs(places - np.arange(8, dtype=np.float32)), 0, None)


def _bar(crops: Pixels) -> Pixels:
    """View the bar that holds the number."""
    return crops[..., :BLOCK, : BITS * BLOCK, :]


def numbers_of(crops: Pixels) -> NDArray[np.intp]:
    """Read the numbers out of decoded crops."""
    blocks = _bar(crops).reshape(len(crops), BLOCK, BITS, BLOCK, 3).mean((1, 3, 4))
    return (blocks > 127) @ (1 << np.arange(BITS))
