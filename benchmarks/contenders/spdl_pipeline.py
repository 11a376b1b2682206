"""SPDL's pipeline of threads."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from declared import Work
from jpegs import Jpegs
from slices import Epoch

from contenders import Ways

pipeline: Any = importlib.import_module("spdl.pipeline")

WORKERS = 2


def decoded(work: Work, jpegs: Jpegs) -> Epoch:
    """`PipelineBuilder().add_source(order).pipe(decode, concurrency=2).aggregate(B).pipe(np.stack)`, 2 threads."""
    rng = np.random.RandomState(1)

    def epoch() -> Iterator[Any]:
        order = rng.permutation(work.rows).tolist()
        builder = pipeline.PipelineBuilder().add_source(order)
        builder = builder.pipe(jpegs.decoded, concurrency=WORKERS, output_order="input")
        built = builder.aggregate(work.batch).pipe(np.stack).add_sink(WORKERS).build(num_threads=WORKERS)
        with built.auto_stop():
            yield from built

    return epoch


WAYS: Ways = {"decode": {"SPDL": decoded}}
