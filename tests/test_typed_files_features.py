"""The ready-made features: images, sounds, labels, texts, tensors; what they load, store, tell and draw."""

from __future__ import annotations

import struct
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from batchup import typed_files as h5m
from batchup.errors import FileFormatError, InvalidTypeError, InvalidValueError

from .images import image_folder


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def made(schema: dict[str, h5m.Feature], sources: list[str], **options: Any) -> h5m.TypedFile:
    return h5m.typedfile("Made", schema).create("a.h5", sources, parallelism="none", progress=False, **options)


@pytest.mark.parametrize(
    ("mode", "suffix", "shape"),
    [
        ("L", "png", ()),
        ("RGB", "png", (3,)),
        ("RGBA", "png", (4,)),
        ("P", "png", (3,)),
        ("1", "bmp", (3,)),
        ("L", "jpg", ()),
    ],
)
def test_images_as_they_are(mode: str, suffix: str, shape: tuple[int, ...]) -> None:
    """Grey images have two axes, colours a third one; palettes and bitmaps come as colours."""
    pixels = np.arange(8 * 6, dtype=np.uint8).reshape(8, 6) * 5
    Image.fromarray(pixels).convert(mode).save(f"a.{suffix}")
    found = h5m.Image().load(f"a.{suffix}")
    assert (found.shape, found.dtype) == ((8, 6, *shape), np.uint8)
    if (mode, suffix) == ("L", "png"):
        assert np.array_equal(found, pixels)


def test_images_made_alike() -> None:
    """Images are converted and resized as the feature says, which its attributes tell."""
    Image.fromarray(np.zeros((8, 6, 3), np.uint8)).save("a.png")
    Image.fromarray(np.zeros((5, 9), np.uint8)).save("b.png")
    file = made({"image": h5m.Image("L", size=(4, 3))}, ["a.png", "b.png"])
    assert file.image.shape == (6, 4)
    assert file.image.get("b.png").shape == (3, 4)
    assert (file.image.attrs["mode"], file.image.attrs["size"].tolist()) == ("L", [4, 3])


def test_images_of_other_sizes() -> None:
    """Images that are not equally wide are refused with what helps, or left out; `VShape` stores them."""
    image_folder(Path(), ["a.png"], 8)
    image_folder(Path(), ["b.png"], 9)
    with pytest.raises(InvalidValueError, match=r"image of 'b.png' has the shape \(9, 9\).*VShape"):
        made({"image": h5m.Image()}, ["a.png", "b.png"])
    assert not list(Path().glob("*h5*"))
    file = made({"image": h5m.Image()}, ["a.png", "b.png"], on_error="skip")
    assert (file.index.names, list(file.skipped)) == (["a.png"], ["b.png"])
    file.close()
    file = made({"image": h5m.VShape(h5m.Image())}, ["a.png", "b.png"])
    assert [file.image.get(name).shape for name in ("a.png", "b.png")] == [(8, 8), (9, 9)]
    assert [array.shape for (batch,) in file.data_source(["image"]).batch_iterator(2) for array in batch] == [
        (8, 8),
        (9, 9),
    ]


def test_a_contact_sheet() -> None:
    """Images are drawn side by side, one or many, from an array or a list."""
    file = made({"image": h5m.Image()}, image_folder(Path(), [f"{number}.png" for number in range(7)], 16))
    images = [file.image.get(source) for source in file.index]
    figure = file.image.plot(images)
    figure.savefig("sheet.png")
    assert [len(axes.images) for axes in figure.axes] == [1] * 7 + [0, 0]
    assert np.array_equal(figure.axes[3].images[0].get_array(), images[3])
    assert len(file.image.plot(images[0]).axes) == 1
    assert len(file.image.plot(np.stack(images), columns=7).axes) == 7
    with pytest.raises(InvalidValueError, match="no images"):
        file.image.plot([])


def wav(name: str, frames: np.ndarray[Any, Any], rate: int = 8000) -> str:
    """Write a wav file of integers."""
    with wave.open(name, "wb") as file:
        file.setnchannels(1 if frames.ndim == 1 else frames.shape[1])
        file.setsampwidth(frames.dtype.itemsize)
        file.setframerate(rate)
        file.writeframes(frames.astype(frames.dtype.newbyteorder("<")).tobytes())
    return name


@pytest.mark.parametrize(("dtype", "middle"), [("u1", 128), ("<i2", 0), ("<i4", 0)])
def test_sounds(dtype: str, middle: int) -> None:
    """Integers of any width become floats between -1 and 1, or stay; channels stay apart, or are averaged."""
    limits = np.iinfo(dtype)
    frames = np.array([[limits.min, middle], [middle, limits.max]], dtype)
    name = wav("a.wav", frames)
    found = h5m.Sound().load(name)
    assert found.dtype == np.float32
    assert np.allclose(found, [[-1, 0], [0, 1]], atol=0.01)
    assert np.allclose(h5m.Sound(mono=True).load(name), [-0.5, 0.5], atol=0.01)
    assert np.array_equal(h5m.Sound(normalize=False).load(name), frames)
    assert h5m.Sound().load(wav("b.wav", frames[:, 0])).shape == (2,)


def test_sounds_of_different_lengths() -> None:
    """They are stored one behind the other, and come in batches of sequences; the rate is checked and told."""
    sources = [wav(f"{number}.wav", np.arange(10 * number, dtype="<i2")) for number in (3, 1, 2)]
    file = made({"wave": h5m.Sound(sr=8000)}, sources)
    assert file.wave.attrs["sr"] == 8000
    (batch,) = next(iter(file.data_source(["wave"]).batch_iterator(3)))
    assert [len(sound) for sound in batch] == [30, 10, 20]
    with pytest.raises(InvalidValueError, match=r"3.wav has a sample rate of 8000 Hz.*44100"):
        h5m.Sound(sr=44100).load("3.wav")
    assert len(file.wave.plot(batch[0]).axes) == 1


@pytest.mark.parametrize("content", [b"", b"RIFF", b"no sound at all", b"RIFF" + struct.pack("<I", 4) + b"WAVE"])
def test_what_is_no_sound(content: bytes) -> None:
    """A file that is no wav file is an error that names it."""
    Path("a.wav").write_bytes(content)
    with pytest.raises(FileFormatError, match=r"a\.wav is no wav file"):
        h5m.Sound().load("a.wav")


def test_a_sound_that_is_cut_short() -> None:
    """A wav file that ends before its header says so is an error, and no shorter sound."""
    Path("b.wav").write_bytes(Path(wav("a.wav", np.arange(1000, dtype="<i2"))).read_bytes()[:-100])
    with pytest.raises(FileFormatError, match=r"b\.wav is no wav file, or damaged"):
        h5m.Sound().load("b.wav")


def test_labels_by_directory() -> None:
    """Labels are ranks of the directories; those that come later go at the end; the names are in the file."""
    sources = ["dogs/1", "apes/1", "dogs/2"]
    file = made({"label": h5m.DirLabels()}, sources)
    assert [file.label.get(source).tolist() for source in sources] == [[1], [0], [1]]
    assert file.label.dtype == np.int64
    file.close()
    file = made({"label": h5m.DirLabels()}, ["bats/1", "apes/2"], mode="a")
    assert [file.label.get(source).tolist() for source in (*sources, "bats/1", "apes/2")] == [[1], [0], [1], [2], [0]]
    assert file.label.attrs["names"].tolist() == ["apes", "dogs", "bats"]
    with pytest.raises(InvalidValueError, match="'cats/1' has no label"):
        h5m.DirLabels(["dogs"]).load("cats/1")


def test_texts() -> None:
    """A text is the source itself, or what is in it; unicode, empty ones too."""
    Path("ü.txt").write_text("naïve ☃\n", encoding="utf-8")
    Path("empty.txt").write_text("")
    file = made({"name": h5m.String(), "text": h5m.String(read=True)}, ["ü.txt", "empty.txt"])
    assert (file.name.get("ü.txt"), file.text.get("ü.txt"), file.text.get("empty.txt")) == ("ü.txt", "naïve ☃\n", "")
    assert file.name[:].tolist() == ["ü.txt", "empty.txt"]
    batches = [batch.tolist() for _, batch in file.data_source(["name", "text"]).batch_iterator(2)]
    assert batches == [["naïve ☃\n", ""]]


def test_tensors_keep_their_shapes() -> None:
    """A dict of arrays comes back with the shapes that it had, numbers that stand alone too."""
    file = h5m.typedfile("Model", {"net": h5m.TensorDict()})("m.h5", "w")
    state = {"fc.weight": np.ones((3, 2), np.float32), "bn.count": np.array(7), "deep": {"bias": np.zeros(3)}}
    file.net.add("epoch 1", state)
    file.add("epoch 2", {"net": state})
    for epoch in ("epoch 1", "epoch 2"):
        found = file.net.get(epoch)
        assert {name: np.shape(part) for name, part in found.items() if name != "deep"} == {
            "fc.weight": (3, 2),
            "bn.count": (),
        }
        assert np.shape(found["deep"]["bias"]) == (3,)
    assert file.get_proxy("net/fc.weight").shape == (6, 2)


def test_chunks_of_tensors() -> None:
    """A dict like those to come sets the chunks, compressed."""
    file = h5m.typedfile("Model", {"net": h5m.TensorDict({"w": np.zeros((4, 5))})})("m.h5", "w")
    file.net.add("a", {"w": np.ones((4, 5)), "other": np.ones(3)})
    weights = file.get_proxy("net/w")
    assert (weights.chunks, weights.compression, file.get_proxy("net/other").compression) == ((4, 5), "lzf", None)


def test_derived_features() -> None:
    """A feature may be made from what another one has loaded."""

    class Numbers(h5m.Feature):
        __re__ = r"^\d+$"

        def load(self, source: str) -> Any:
            return np.arange(int(source))

    class Total(h5m.Feature):
        derived_from = "numbers"

        def load(self, source: Any) -> Any:
            return source.sum()

    file = made({"numbers": Numbers(), "total": Total(), "name": h5m.String()}, ["4", "x", "5"])
    assert [file.total.get(source) for source in ("4", "x", "5")] == [6, None, 10]


def test_transforms() -> None:
    """Arrays go through `__t__` when they are read, dicts of groups through `__grp_t__`; in batches, too."""

    class Scaled(h5m.Array):
        __t__ = (lambda array: array / 2, lambda array: array + 1)

    class Summed(h5m.Feature):
        __grp_t__ = (lambda parts: parts["a"] + parts["b"],)

    file = h5m.typedfile("Made", {"x": Scaled(), "both": Summed()})("a.h5", "w")
    for number in range(3):
        file.add(str(number), {"x": np.full(2, 2.0 * number), "both": {"a": np.ones(2), "b": np.full(2, number)}})
    assert file.x.get("2").tolist() == [3, 3]
    assert file.both.get("2").tolist() == [3, 3]
    assert [batch.tolist() for (batch,) in file.data_source(["x"]).batch_iterator(3)] == [[[1, 1], [2, 2], [3, 3]]]


@pytest.mark.parametrize("data", [object(), {"a": object()}, [object()]])
def test_what_cannot_be_stored(data: Any) -> None:
    """A feature that loads something else is an error that names feature and source."""

    class Wrong(h5m.Feature):
        def load(self, source: str) -> Any:
            return data

    with pytest.raises(InvalidTypeError, match=r"object|Wrong.load"):
        made({"wrong": Wrong()}, ["a"])
    assert not list(Path().glob("*h5*"))
