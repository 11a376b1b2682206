"""The shape of the raw results, as they lie in the JSON files."""

from __future__ import annotations

from typing import Any, TypedDict

Shot = dict[str, float]  # what one trial tells: figures by their names


class Slice(TypedDict):
    """One timed slice: batches taken, seconds in all, seconds until the first batch was there.

    `cached` is the share of the files that lay in the page cache before, None where none are read.
    """

    batches: int
    elapsed: float
    first: float
    cached: float | None


class Build(TypedDict):
    """What it took until the first batch was there; memory in bytes, None where it cannot be told."""

    seconds: float
    held: int | None
    peak: int | None


class Entry(TypedDict):
    """One contender: `why` says what went wrong, None when all is well; it has slices or else shots."""

    name: str
    how: str
    environment: str
    build: Build | None
    slices: list[Slice]
    shots: list[Shot]
    why: str | None


class CaseRecord(TypedDict):
    """One case with all its contenders; `absent` are the environments with nothing to enter.

    `amid_noise` counts the turns that began while something else kept the machine busy.
    """

    label: str
    work: dict[str, Any]
    targets: list[dict[str, Any]]
    entries: list[Entry]
    absent: list[str]
    amid_noise: int


class BenchRecord(TypedDict):
    """One run of one bench: all that its tables are made from."""

    name: str
    title: str
    note: str
    unit: str
    limits: list[str]
    shows_memory: bool
    shows_rate: bool
    main: str
    date: str
    rounds: int
    shrunk: int
    machine: dict[str, str]
    environments: dict[str, dict[str, str]]
    cases: list[CaseRecord]
