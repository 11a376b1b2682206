"""Every format converted into every other and back: equal arrays and dtypes, or a refusal before a file is made."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import batchup
from batchup.errors import InvalidTypeError, InvalidValueError
from batchup.formats import convert, open_table
from batchup.formats.casting import Cast
from batchup.formats.registry import format_called, suffixes
from batchup.formats.table import Block, fields_of

from .tables import KINDS, ROWS, check_same, whole

WIDE = ("numbers", "arrays", "bytes", "sequences")  # which all have to be held for examples to be
PAGE = Path(batchup.__file__).parents[1] / "docs" / "howto" / "files_of_any_format.md"
COLUMNS = {
    "numbers": ["column", "numbers"],
    "arrays": ["arrays", "images"],
    "texts": ["texts"],
    "words": ["words"],
    "bytes": ["byte_strings"],
    "sequences": ["ragged", "sounds"],
    "any shapes": ["loose"],
}


def told() -> dict[str, tuple[str, dict[str, str]]]:
    """Return what the docs say: for each format a suffix, and by kind of rows 'yes', 'cast' or 'no'."""
    lines = [line.strip("| \n").split(" | ") for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    head, _, *rows = lines
    found = {"images": ("", dict.fromkeys(KINDS, "no") | {"images": "yes"})}
    found["wav"] = ("", dict.fromkeys(KINDS, "no") | {"sounds": "yes"})
    for row in rows:
        cells = dict(zip(head, row, strict=True))
        holds = {kind: cells[column] for column, kinds in COLUMNS.items() for kind in kinds}
        holds["examples"] = "yes" if all(cells[column] in ("yes", "some") for column in WIDE) else "no"
        holds = {kind: "no" if held == "some" else held for kind, held in holds.items()}
        if "one column" in cells["format"]:
            holds = {kind: "yes" if kind == "column" else "no" for kind in holds}
        found[cells["format"].split("`")[1]] = (cells["suffixes"].split(",")[0], holds)
    return found


FORMATS = told()


def write(kind: str, name: str, path: Path) -> bool:
    """Write rows of a kind; return whether the format holds them. What it does not hold makes no file."""
    block = KINDS[kind]()
    sink: Any = format_called(name).sink
    try:
        with sink(str(path), fields_of(block), rows=ROWS) as put:
            put(block)
    except (InvalidTypeError, InvalidValueError) as error:
        refused = str(error)
    else:
        return True
    assert any(column in refused for column in block)
    assert os.listdir(path.parent) == []
    return False


def test_the_table_is_whole() -> None:
    """The docs tell of every format, and of its suffixes."""
    page = PAGE.read_text()
    for suffix, name in suffixes().items():
        assert f"`{name}`" in page
        if name not in ("images", "wav", "text"):
            assert f" {suffix}" in page
    assert set(suffixes().values()) - {"text"} == set(FORMATS)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("kind", KINDS)
def test_what_a_format_holds(kind: str, name: str, tmp_path: Path) -> None:
    """What a format is said to hold comes back, all else is refused."""
    suffix, holds = FORMATS[name]
    path = tmp_path / f"a{suffix}"
    assert write(kind, name, path) == (holds[kind] != "no")
    if holds[kind] != "no":
        block = KINDS[kind]()
        check_table(path, block, holds[kind] == "cast")
        with open_table(path) as table:
            assert (table.columns() is not None) == random_access(name)
            assert table.checksums == ("yes" in line_of(name).split(" | ")[-1])


def random_access(name: str) -> bool:
    """Return whether the docs say that rows can be read in any order."""
    return line_of(name).split(" | ")[-2] == "yes"


def line_of(name: str) -> str:
    """Return what the table says of a format."""
    return next((line for line in PAGE.read_text().splitlines() if line.startswith(f"| `{name}`")), "| x | yes | no |")


@pytest.mark.parametrize("other", FORMATS)
@pytest.mark.parametrize("name", FORMATS)
def test_into_each_other_and_back(name: str, other: str, tmp_path: Path) -> None:
    """What both hold goes from one to the other and back, and is the same."""
    for kind in [kind for kind, held in FORMATS[name][1].items() if held != "no"]:
        folder = tmp_path / kind
        folder.mkdir()
        block = KINDS[kind]()
        dtypes = {column: field.dtype for column, field in fields_of(block).items()}
        first, second, third = (folder / f"{i}{FORMATS[n][0]}" for i, n in enumerate((name, other, name)))
        assert write(kind, name, first)
        casts = [FORMATS[one][1][kind] == "cast" for one in (name, other)]
        if FORMATS[other][1][kind] == "no":
            with pytest.raises((InvalidTypeError, InvalidValueError)):
                convert(first, second, target=other, dtypes=dtypes if casts[0] else None)
            assert os.listdir(folder) == [first.name]
            continue
        done = convert(first, second, target=other, dtypes=dtypes if casts[0] else None)
        assert done.rows == ROWS
        convert(second, third, target=name, dtypes=dtypes if casts[1] else None)
        check_table(third, block, casts[0])


def check_table(path: Path, block: Block, cast: bool) -> None:
    """Check that a file has the rows of a block."""
    with open_table(path) as opened:
        table = Cast(opened, {name: field.dtype for name, field in fields_of(block).items()}) if cast else opened
        assert table.fields == fields_of(block)
        check_same(whole(table), block)
