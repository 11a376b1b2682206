"""What a pipeline looks like: in one line, and stage by stage."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from batchup.pipeline.functions import Applied
from batchup.pipeline.nested import Shape
from batchup.pipeline.sources import Columns
from batchup.pipeline.stage import Stage

_MANY = 6  # stages that a line shows


def chain(stage: Stage) -> str:
    """Return a pipeline as the calls that make it."""
    calls = list(_calls(stage))
    if len(calls) > _MANY:
        calls = [calls[0], "...", *calls[2 - _MANY :]]
    return ".".join(calls).replace(".[", "[")


def _calls(stage: Stage) -> Iterator[str]:
    if len(stage.parents) == 1:
        yield from _calls(stage.parents[0])
    elif stage.parents and not isinstance(stage, Columns):
        yield f"Dataset.{stage.verb}({len(stage.parents)} datasets)"
        return
    yield stage.label


def facts(stage: Stage) -> str:
    """Return how many items there are, what they look like, and how they can be had."""
    shape = stage.shape()
    kind = "random access" if stage.random_access else "a stream"
    return ", ".join([count(stage), *([shown_shape(shape)] if shape is not None else []), kind])


def count(stage: Stage) -> str:
    """Return the number of items in words."""
    length = stage.length()
    if length is None:
        return "endless items" if stage.endless else "items"
    if length == math.inf:
        return "endless items"
    return "1 item" if length == 1 else f"{length} items"


def shown_shape(shape: Any) -> str:
    """Show what an item looks like: shapes with dtypes; None is a length that differs."""
    if isinstance(shape, Shape):
        axes = ", ".join("?" if size is None else str(size) for size in shape.shape)
        return f"{shape.dtype}({axes})" if shape.shape else str(shape.dtype)
    if isinstance(shape, dict):
        return "{" + ", ".join(f"{key}: {shown_shape(part)}" for key, part in shape.items()) + "}"
    return "(" + ", ".join(map(shown_shape, shape)) + ")"


def picture(stage: Stage, epoch: int = 0) -> str:
    """Return the stages, one to a line, the first one first; members of a join are set in."""
    lines = list(_lines(stage, ""))
    width = max(len(name) for name, _ in lines)
    text = "\n".join(f"{name:<{width}}  {told}" for name, told in lines)
    return f"{text}\n(epoch {epoch})" if epoch else text


def _lines(stage: Stage, indent: str) -> Iterator[tuple[str, str]]:
    several = len(stage.parents) > 1
    for parent in stage.parents:
        yield from _lines(parent, indent + "  " * several)
    told = facts(stage)
    if isinstance(stage, Applied) and stage.where is not None and stage.where.anywhere:
        told += f", on {stage.where}"
    yield indent + stage.label, told
