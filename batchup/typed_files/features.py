"""Ready-made features: images, sounds, labels, texts, arrays of any shape, tensors of a model."""

from __future__ import annotations

import copy
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup._extras import required
from batchup.errors import FileFormatError, InvalidTypeError, InvalidValueError
from batchup.typed_files.feature import Feature
from batchup.typed_files.layout import h5py


class Image(Feature):
    """Images, read with Pillow; grey ones have the shape (height, width), others (height, width, channels), uint8.

    Rows of all images are joined, so that images of a file are equally wide; `VShape` stores images of any size.

    Parameters
    ----------
    mode : str, optional
        Mode of Pillow that images are converted to: ``'L'`` grey, ``'RGB'``, ``'RGBA'`` ...; as they are by default,
        palettes and other unusual ones as ``'RGB'``.
    size : tuple (width, height), optional
        What images are resized to.
    **ds_kwargs
        In place of `__ds_kwargs__`.
    """

    __re__ = r"(?i)\.(bmp|gif|jpe?g|png|ppm|pgm|tiff?|webp)$"

    def __init__(self, mode: str | None = None, size: tuple[int, int] | None = None, **ds_kwargs: Any) -> None:
        self.mode = mode
        self.size = None if size is None else (int(size[0]), int(size[1]))
        if ds_kwargs:
            self.__ds_kwargs__ = ds_kwargs  # type: ignore[misc]

    @property
    def attrs(self) -> Mapping[str, Any]:
        return {"mode": self.mode, "size": self.size}

    def load(self, source: str) -> NDArray[np.uint8]:
        with required("PIL.Image", "image", "Image").open(source) as image:
            return self.pixels(image)

    def mode_of(self, image: Any) -> str:
        """Return the mode that an image of Pillow is converted to."""
        return self.mode or (image.mode if image.mode in ("L", "RGB", "RGBA", "I;16", "F", "LA") else "RGB")

    def pixels(self, image: Any) -> NDArray[Any]:
        """Return the pixels of an image of Pillow."""
        mode = self.mode_of(image)
        converted = image if image.mode == mode else image.convert(mode)
        return np.asarray(converted if self.size is None else converted.resize(self.size))

    def plot(self, data: Any, columns: int | None = None) -> Any:
        """Return a contact sheet, a `matplotlib.figure.Figure`.

        Parameters
        ----------
        data : ndarray, shape (height, width), (n, height, width[, channels]), or list of images
            The images.
        columns : int, optional
            How many stand side by side; by default as many as make it square.
        """
        images = [np.asarray(image) for image in (data if isinstance(data, list) else _images_in(data))]
        if not images:
            raise InvalidValueError("there are no images to be shown")
        columns = columns or int(np.ceil(np.sqrt(len(images))))
        rows = -(-len(images) // columns)
        figure = required("matplotlib.figure", "report", "Image.plot").Figure(figsize=(1.6 * columns, 1.6 * rows))
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for place in axes:
            place.set_axis_off()
        for place, image in zip(axes, images, strict=False):
            most = 255 if image.dtype == np.uint8 else None
            place.imshow(image, cmap="gray" if image.ndim == 2 else None, vmin=0 if most else None, vmax=most)
        figure.tight_layout(pad=0.2)
        return figure


def _images_in(data: Any) -> Any:
    """Return the images in an array: itself, if it is a grey or a coloured one."""
    data = np.asarray(data)
    return [data] if data.ndim == 2 or (data.ndim == 3 and data.shape[-1] in (3, 4)) else data


class Sound(Feature):
    """Sounds from wav files: float32 between -1 and 1, or the integers as they are in the file.

    One channel has the shape (frames,), several (frames, channels).

    Parameters
    ----------
    sr : int, optional
        Sample rate in Hz that files must have; nothing is resampled.
    mono : bool, default False
        Whether channels are averaged.
    normalize : bool, default True
        Whether integers are scaled to floats between -1 and 1.
    """

    __re__ = r"(?i)\.wav$"

    def __init__(self, sr: int | None = None, mono: bool = False, normalize: bool = True, **ds_kwargs: Any) -> None:
        self.sr = sr
        self.mono = mono
        self.normalize = normalize
        if ds_kwargs:
            self.__ds_kwargs__ = ds_kwargs  # type: ignore[misc]

    @property
    def attrs(self) -> Mapping[str, Any]:
        return {"sr": self.sr, "mono": self.mono, "normalize": self.normalize}

    def load(self, source: str) -> NDArray[Any]:
        rate, frames = read_wav(source)
        if self.sr is not None and rate != self.sr:
            raise InvalidValueError(f"{source} has a sample rate of {rate} Hz, Sound(sr={self.sr}) needs {self.sr} Hz")
        if self.normalize and frames.dtype.kind in "iu":
            bits = 8 * frames.dtype.itemsize
            shifted = frames.astype(np.float32) - (128.0 if frames.dtype.kind == "u" else 0.0)
            frames = shifted / np.float32(2 ** (bits - 1))
        elif self.normalize:
            frames = frames.astype(np.float32)
        if self.mono and frames.ndim > 1:
            kind = frames.dtype
            frames = frames.mean(axis=1).astype(kind)
        return frames

    def plot(self, data: Any) -> Any:
        """Return a drawing of a wave, a `matplotlib.figure.Figure`."""
        figure = required("matplotlib.figure", "report", "Sound.plot").Figure(figsize=(8, 2))
        axes = figure.subplots()
        axes.plot(np.arange(len(data)) / (self.sr or 1), np.asarray(data), linewidth=0.5)
        axes.set_xlabel("seconds" if self.sr else "frames")
        figure.tight_layout()
        return figure


_filters = threading.Lock()  # those of warnings are the same in all threads


def read_wav(source: str) -> tuple[int, NDArray[Any]]:
    """Return the sample rate in Hz of a wav file, and its frames.

    Raises
    ------
    FileFormatError
        If it is no wav file, or damaged.
    """
    import warnings

    from scipy.io import wavfile

    with _filters, warnings.catch_warnings():
        warnings.simplefilter("ignore", wavfile.WavFileWarning)  # chunks of other programs
        warnings.filterwarnings("error", "Reached EOF", wavfile.WavFileWarning)
        try:
            rate, frames = wavfile.read(source)
        except (OSError, MemoryError):
            raise
        except Exception as error:  # SciPy raises many kinds
            raise FileFormatError(f"{source} is no wav file, or damaged: {error}") from error
    return int(rate), frames


class DirLabels(Feature):
    """Labels by directory: the rank (int64, shape (1,)) of a source's directory among those of all sources.

    The ranks are fixed before loading starts: the directories' names, sorted. They are kept in the attribute ``names``;
    directories of sources that are added later go at the end.
    """

    def __init__(self, names: Sequence[str] = ()) -> None:
        self.names = list(names)

    @property
    def attrs(self) -> Mapping[str, Any]:
        return {"names": self.names} if self.names else {}

    def prepared(self, sources: Sequence[str], attrs: Mapping[str, Any]) -> DirLabels:
        known = [name.decode() if isinstance(name, bytes) else str(name) for name in attrs.get("names", self.names)]
        new = sorted({self.directory(source) for source in sources} - set(known))
        made = copy.copy(self)
        made.names = [*known, *new]
        return made

    def load(self, source: str) -> NDArray[np.int64]:
        directory = self.directory(source)
        if directory not in self.names:
            raise InvalidValueError(f"the directory of {source!r} has no label: labels are fixed by create()")
        return np.array([self.names.index(directory)], np.int64)

    @staticmethod
    def directory(source: str) -> str:
        """Return the name of the directory that a source lies in."""
        return os.path.basename(os.path.dirname(source))


class String(Feature):
    """Texts (UTF-8). Without a `load` of its own, the text of a source is the source itself.

    Parameters
    ----------
    read : bool, default False
        Whether sources are text files, whose content is stored.
    """

    def __init__(self, read: bool = False) -> None:
        self.read = read

    @property
    def __ds_kwargs__(self) -> Mapping[str, Any]:  # type: ignore[override]
        return {"dtype": h5py().string_dtype(encoding="utf-8")}

    def load(self, source: str) -> Any:
        if not self.read:
            return source
        with open(source, encoding="utf-8") as file:
            return file.read()


class VShape(Feature):
    """Arrays of any shape: they are stored flat, with their shapes beside them.

    Parameters
    ----------
    base_feat : Feature
        What loads them, and says how they are stored.

    Examples
    --------
    >>> from batchup import typed_files as h5m
    >>> file = h5m.in_mem(h5m.typedfile("Pictures", {"image": h5m.VShape(h5m.Image())}))
    >>> file = file.add("a.png", {"image": np.zeros((3, 2))}).add("b.png", {"image": np.zeros((1, 5))})
    >>> file.image.get("a.png").shape, file.image.get("b.png").shape
    ((3, 2), (1, 5))
    """

    def __init__(self, base_feat: Feature) -> None:
        if not isinstance(base_feat, Feature):
            raise InvalidTypeError(f"VShape takes a feature, got {base_feat!r}")
        self.base_feat = base_feat
        self.__re__ = base_feat.__re__

    @property
    def __ds_kwargs__(self) -> Mapping[str, Any]:  # type: ignore[override]
        return {"arr": {key: value for key, value in self.base_feat.__ds_kwargs__.items() if key != "chunks"}}

    @property
    def __grp_t__(self) -> Any:  # type: ignore[override]
        return (_shaped, *self.base_feat.__t__, *self.base_feat.__grp_t__)

    @property
    def attrs(self) -> Mapping[str, Any]:
        return self.base_feat.attrs

    @property
    def loads(self) -> bool:
        return self.base_feat.loads

    def prepared(self, sources: Sequence[str], attrs: Mapping[str, Any]) -> VShape:
        made = copy.copy(self)
        made.base_feat = self.base_feat.prepared(sources, attrs)
        return made

    def load(self, source: Any) -> Any:
        loaded = self.base_feat.load(source)
        return None if loaded is None else self.stored(loaded)

    def stored(self, data: Any) -> Any:
        if isinstance(data, Mapping):
            return data
        array = np.asarray(data)
        return {"arr": array.reshape(-1), "shape_": np.array(array.shape, np.int64)}

    def plot(self, data: Any, **keywords: Any) -> Any:
        """Return what the feature within draws."""
        return self.base_feat.plot(data, **keywords)  # type: ignore[attr-defined]


def _shaped(stored: Mapping[str, Any]) -> Any:
    return stored["arr"].reshape(stored["shape_"])


class TensorDict(Feature):
    """The tensors of a model or an optimizer, from files of PyTorch, or added as a ``state_dict()``.

    ``get`` returns a dict of tensors of the shapes that they had, for ``load_state_dict``; of arrays, where PyTorch is
    not installed.

    Parameters
    ----------
    state_dict : dict, optional
        One like those to come: its shapes become those of chunks, compressed with lzf.
    """

    __re__ = r".*ckpt$"

    def __init__(self, state_dict: Mapping[str, Any] | None = None) -> None:
        self.set_ds_kwargs(state_dict or {})

    @property
    def __grp_t__(self) -> tuple[Callable[[Any], Any], ...]:  # type: ignore[override]
        return (_tensors,)

    def load(self, source: str) -> Any:
        torch = required("torch", "torch", "TensorDict.load")
        return self.format(torch.load(source, map_location="cpu", weights_only=True))

    def stored(self, data: Any) -> Any:
        return self.format(data) if isinstance(data, Mapping) else data

    @staticmethod
    def format(state_dict: Mapping[str, Any]) -> dict[str, Any]:
        """Return arrays in place of tensors."""
        return {name: _formatted(value) for name, value in state_dict.items()}

    def set_ds_kwargs(self, state_dict: Mapping[str, Any]) -> TensorDict:
        """Take the shapes of a dict for those of chunks; return the feature."""
        self.__ds_kwargs__ = {  # type: ignore[misc]
            name: {"compression": "lzf", "chunks": tuple(max(1, n) for n in np.shape(value)) or (1,)}
            for name, value in state_dict.items()
            if not isinstance(value, Mapping)
        }
        return self


def _formatted(value: Any) -> Any:
    if isinstance(value, Mapping):
        return TensorDict.format(value)
    detached = getattr(value, "detach", None)
    return detached().cpu().numpy() if callable(detached) else np.asarray(value)


def _tensors(stored: Mapping[str, Any]) -> dict[str, Any]:
    try:
        from_numpy = import_module("torch").from_numpy
    except ImportError:
        return dict(stored)
    return {
        name: _tensors(part) if isinstance(part, Mapping) else from_numpy(np.array(part))
        for name, part in stored.items()
    }
