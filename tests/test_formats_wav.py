"""Folders of .wav files: read in any order as SciPy has them, written as they are; what is no sound is named."""

from __future__ import annotations

import os
import pickle
import struct
import wave
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.io import wavfile

from batchup.columns import Ragged
from batchup.errors import FileFormatError, InvalidTypeError, InvalidValueError
from batchup.formats.checked import is_of
from batchup.formats.folders.wav import DTYPES, WavTable, read_wav, wav_sink, write_wav
from batchup.formats.table import TEXT, Field, fields_of, objects, part_of
from batchup.formats.webdataset.sink import _each as each

from .format_laws import interrupted, written
from .kills import room_for


@st.composite
def tables(draw: st.DrawFn) -> dict[str, Any]:
    """Return a block of sounds, of one length or of several, with labels or without."""
    rows = draw(st.integers(0, 5))
    dtype = np.dtype(draw(st.sampled_from(DTYPES))).newbyteorder(draw(st.sampled_from("<>")))
    inner = draw(st.sampled_from([(), (1,), (2,)]))
    block: dict[str, Any] = {}
    if draw(st.booleans()):
        block["sound"] = draw(hnp.arrays(dtype, (rows, draw(st.integers(0, 4)), *inner)))
    else:
        offsets = np.cumsum([0, *draw(st.lists(st.integers(0, 4), min_size=rows, max_size=rows))])
        block["sound"] = Ragged(draw(hnp.arrays(dtype, (int(offsets[-1]), *inner))), offsets)
    kind = draw(hnp.integer_dtypes(sizes=(32, 64)))
    block["rate"] = draw(hnp.arrays(kind, rows, elements=st.integers(1, 200_000)))
    if draw(st.booleans()):
        block["label"] = draw(hnp.arrays(draw(hnp.integer_dtypes() | hnp.unsigned_integer_dtypes()), rows))
    return block


def bytes_of(values: Iterable[Any]) -> list[Any]:
    """Return each value of a column with all that makes it what it is."""
    return [(value.dtype, value.shape, value.tobytes()) for block in values for value in each(block)]


@given(block=tables(), cut=st.integers(0, 5))
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, block: dict[str, Any], cut: int) -> None:
    """Sounds, rates and labels are read as they were written: values, dtypes, shapes and order."""
    path = str(tmp_path_factory.mktemp("wav") / "a")
    fields, rows = fields_of(block), len(block["sound"])
    with wav_sink(path, fields, rows=rows, meta={"a": [1]}) as write:
        write(part_of(block, 0, cut))
        write(part_of(block, min(cut, rows), rows))
    table = WavTable(path)
    assert (table.fields, table.rows, table.meta["a"]) == (fields, rows, [1])
    columns = table.columns()
    assert columns is not None
    for step in (1, 100):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("batchup.formats.columnar.block_rows", lambda fields, step=step: step)
            blocks = list(table.blocks())
        assert all(is_of(found[name], fields[name]) for found in blocks for name in fields)
        for name, values in block.items():
            assert bytes_of(found[name] for found in blocks) == bytes_of([values])
    order = np.arange(rows)[::-1]
    for name, values in block.items():
        assert bytes_of([columns[name][order]]) == bytes_of([values[order]])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [1, 2])
def test_files_of_others(tmp_path: Path, dtype: str, channels: int) -> None:
    """What SciPy writes is read as it reads it; labels are the numbers of the sorted names of folders."""
    rng = np.random.default_rng(0)
    sounds = {}
    for name in ("b/1 ü.wav", "a/2.WAV", "b/3.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        frames = (rng.random((rng.integers(5, 9), channels)) * 100).astype(dtype)
        wavfile.write(tmp_path / name, 8000 + len(frames), frames)
        sounds[name] = frames[:, 0] if channels == 1 else frames
    table = WavTable(str(tmp_path), names=True)
    assert table.fields == {
        "sound": Field(np.dtype(dtype), (None,) if channels == 1 else (None, 2)),
        "rate": Field(np.dtype("i8")),
        "label": Field(np.dtype("i8")),
        "path": Field(TEXT),
    }
    assert table.meta == {"labels": ["a", "b"]}
    (block,) = table.blocks()
    assert block["label"].tolist() == [0, 1, 1]
    for name, sound, rate in zip(block["path"], block["sound"], block["rate"], strict=True):
        np.testing.assert_array_equal(sound, sounds[name])
        assert rate == 8000 + len(sound)
    columns = read_wav(tmp_path / "b/*.wav", columns=["sound"])
    assert list(columns) == ["sound"]
    assert len(pickle.loads(pickle.dumps(columns["sound"]))[[1, 0, 1]]) == 3
    lengths = [len(sound) for batch in table.data_source().batch_iterator(batch_size=2) for sound in batch["sound"]]
    assert lengths == [len(sound) for sound in block["sound"]]


def test_24_bits(tmp_path: Path) -> None:
    """Samples of 24 bits are the upper ones of int32; chunks of other programs are passed over."""
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setparams((1, 3, 8000, 0, "NONE", ""))
        file.writeframes(b"\x01\x02\x03\xff\xff\xff")
    columns = read_wav(tmp_path / "a.wav")
    assert columns["sound"][0].tolist() == [0x03020100, -256]
    data = (tmp_path / "a.wav").read_bytes()
    other = b"odd " + struct.pack("<I", 3) + b"abc\0"
    longer = data[:4] + struct.pack("<I", len(data) + 2 * len(other) - 8) + data[8:12] + other + data[12:] + other
    (tmp_path / "a.wav").write_bytes(longer)
    columns = read_wav(tmp_path / "a.wav")
    assert columns["sound"][0].tolist() == [0x03020100, -256]


def test_extensible_and_big_endian(tmp_path: Path) -> None:
    """Headers that tell more, and files of other byte orders, are read."""
    guid = struct.pack("<H", 1) + bytes.fromhex("000000001000800000aa00389b71")
    chunk = struct.pack("<HHIIHHHHI", 0xFFFE, 1, 8000, 16000, 2, 16, 22, 16, 4) + guid
    for order, head, told in (("<", b"RIFF", chunk), (">", b"RIFX", struct.pack(">HHIIHH", 1, 1, 8000, 16000, 2, 16))):
        body = b"WAVEfmt " + struct.pack(f"{order}I", len(told)) + told + b"data" + struct.pack(f"{order}I2h", 4, 1, -2)
        (tmp_path / "a.wav").write_bytes(head + struct.pack(f"{order}I", len(body)) + body)
        columns = read_wav(tmp_path / "a.wav")
        assert (columns["sound"][0].tolist(), columns["rate"].tolist()) == ([1, -2], [8000])
        assert columns["sound"].dtype == np.int16


def some(folder: Path) -> bytes:
    for n in range(3):
        wavfile.write(folder / f"{n}.wav", 8000, np.arange(n + 5, dtype=np.int16))
    return (folder / "1.wav").read_bytes()


def test_what_is_no_sound(tmp_path: Path) -> None:
    """A file that is none, damaged, or of another kind is named; it is left out if that is asked for."""
    data = some(tmp_path)
    compressed = data.replace(struct.pack("<HH", 1, 1), struct.pack("<HH", 17, 1), 1)
    twice = data[:4] + struct.pack("<I", 2 * len(data) - 44) + data[8:] + data[36:]
    odd = data.replace(struct.pack("<HH", 2, 16), struct.pack("<HH", 2, 12), 1)
    for wrong, message in (
        (b"", r"is no \.wav file"),
        (b"RIFF1234AVI LIST", r"is no \.wav file"),
        (data[:-3], "is cut short: 9 of 12 bytes of frames are there"),
        (data[:40], "is cut short, or damaged: it has no frames"),
        (data[:12], "is damaged: it tells no format"),
        (data[:16] + b"\x0a\0\0\0" + data[20:], "its format is told in 10 bytes"),
        (data[:40] + b"\xff\xff\xff\x7f" + data[44:], "is cut short: 12 of 2147483647 bytes"),
        (compressed, "of 16 bits in the format 17 and 1 channels: only PCM"),
        (odd, "has samples of 12 bits"),
        (data[:4] + bytes(4) + data[8:], "is damaged: it is to end at byte 8, before its frames"),
        (data[:4] + b"\x1c\0\0\0" + data[8:], "is damaged: it is to end at byte 36, before its frames"),
        (twice, "has frames in two places"),
    ):
        (tmp_path / "1.wav").write_bytes(wrong)
        with pytest.raises(FileFormatError, match=rf"1\.wav .*{message}"):
            read_wav(tmp_path)
        table = WavTable(str(tmp_path), on_error="skip")
        assert table.rows == len(list(read_wav(tmp_path, on_error="skip"))) == 2
        assert len(table.problems) == 1
    wavfile.write(tmp_path / "1.wav", 8000, np.zeros((3, 2), np.int16))
    with pytest.raises(
        FileFormatError, match=r"1\.wav is int16 \(\*, 2\), and .*0\.wav is int16 \(\*,\): read them apart"
    ):
        read_wav(tmp_path)


def test_damaged_behind_the_frames(tmp_path: Path) -> None:
    """What the library fails at is told in plain words."""
    data = some(tmp_path)
    (tmp_path / "1.wav").write_bytes(data[:4] + struct.pack("<I", len(data) + 8) + data[8:] + b"LIST\1")
    with pytest.raises(
        FileFormatError, match=r"1\.wav is damaged, or no \.wav file: its header does not describe what .*$"
    ):
        read_wav(tmp_path / "1.wav")["sound"][0]


@given(st.data())
def test_damaged_anywhere(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Of a file with wrong bytes, or fewer, nothing is raised but a FileFormatError that names it."""
    folder = tmp_path_factory.mktemp("wav")
    whole = bytearray(some(folder))
    for _ in range(data.draw(st.integers(0, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path = folder / "1.wav"
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole)))])
    try:
        assert read_wav(path)["sound"][0].ndim in (1, 2)
    except FileFormatError as error:
        assert str(path) in str(error)  # noqa: PT017


def test_nothing_there(tmp_path: Path) -> None:
    """What is not there is told, and a folder without sounds."""
    with pytest.raises(FileNotFoundError):
        read_wav(tmp_path / "none")
    with pytest.raises(FileFormatError, match="has no sounds"):
        read_wav(tmp_path)


def test_rates(tmp_path: Path) -> None:
    """The rate is a column, or one for all; the names of columns are the user's."""
    items = [{"x": np.zeros(3, np.float32), "y": n} for n in range(2)]
    write_wav(items, tmp_path / "a", rate=16_000, sound="x", label="y", meta={"labels": ["no", "yes"]})
    table = WavTable(str(tmp_path / "a"))
    assert list(table.fields) == ["sound", "rate", "label"]
    assert table.meta == {"labels": ["no", "yes"]}
    assert wavfile.read(tmp_path / "a/yes/000000001.wav")[0] == 16_000
    assert read_wav(tmp_path / "a")["rate"].tolist() == [16_000] * 2


def test_what_cannot_be_written(tmp_path: Path) -> None:
    """What cannot be held is refused before anything is made; what fails on the way leaves the old folder."""
    sound, number = Field(np.dtype("i2"), (None,)), Field(np.dtype("i8"))
    refused: list[tuple[type[Exception], str, dict[str, Field], dict[str, Any]]] = [
        (InvalidTypeError, "needs a column of them, 'sound', got .'x'.: sound=", {"x": sound}, {}),
        (InvalidTypeError, "column 'y' is int64: leave it out", {"sound": sound, "y": number}, {}),
        (InvalidTypeError, "column 'label' is str", {"sound": sound, "label": Field(TEXT)}, {"rate": 8000}),
        (InvalidTypeError, "column 'rate' is float64", {"sound": sound, "rate": Field(np.dtype("f8"))}, {}),
        (InvalidValueError, "sounds need a rate", {"sound": sound}, {}),
        (InvalidValueError, "there is one", {"sound": sound, "rate": number}, {"rate": 8000}),
        (InvalidValueError, "rate", {"sound": sound}, {"rate": 0}),
        *[
            (InvalidTypeError, r"\.wav files hold", {"sound": Field(np.dtype(dtype), shape)}, {"rate": 8000})
            for dtype, shape in [("f2", (2,)), ("i8", (2,)), ("i2", ()), ("i2", (2, 2, 2)), ("i2", (2, 0)), ("U", ())]
        ],
    ]
    for kind, message, fields, options in refused:
        with pytest.raises(kind, match=message):
            written(wav_sink, tmp_path / "a", fields, [], **options)
    assert os.listdir(tmp_path) == []
    path = tmp_path / "a"
    write_wav([{"sound": np.arange(3, dtype=np.int16)}], path, rate=8000)
    both = {"sound": sound, "rate": number}
    good = {"sound": Ragged.of([np.zeros(3, np.int16)] * 2), "rate": np.array([1, 2])}
    for rate in (-1, 2**40, 2**31 + 1):
        with pytest.raises(InvalidValueError, match=rf"row 1: int16 \(3,\) at {rate} Hz is no \.wav file"):
            written(wav_sink, path, both, [{**good, "rate": np.array([1, rate])}])
    with pytest.raises(InvalidValueError, match="expected sound"):
        written(wav_sink, path, both, [good, {**good, "sound": objects(["a", "b"])}])
    with pytest.raises(KeyboardInterrupt):
        written(wav_sink, path, both, interrupted(good))
    with room_for(10_000), pytest.raises(OSError, match=r"large|space"):
        write_wav([{"sound": np.zeros(10_000, np.int16)}], path, rate=8000)
    assert os.listdir(tmp_path) == ["a"]
    assert read_wav(path)["sound"][0].tolist() == [0, 1, 2]
