"""The states of passes: what they hold, and what they refuse to be loaded into."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np

from batchup.data_source.choice_batch import ChoiceBatch
from batchup.data_source.passes import Pass
from batchup.errors import StateError
from batchup.sampling.chunks import IndexChunk
from batchup.sampling.order import Key

VERSION = 1
_KEYS = {"version", "plan", "position", "world_size"}


def plan_of(structure: str, samples: Any, walk: Pass) -> dict[str, Any]:
    """Return what a state belongs to, as JSON of bounded size."""
    return {
        "source": shortened(structure),
        "samples": samples if isinstance(samples, int) else str(samples),
        "batch_size": walk.batch_size,
        "order": order_name(walk),
        "epoch": walk.epoch,
        "tail": walk.tail,
    }


def order_name(walk: Pass) -> str:
    """Return what the order of a pass comes from."""
    if isinstance(walk.order, Key):
        return f"seed {walk.order.seed}"
    return "in order" if walk.order is None else type(walk.order).__name__


def shortened(text: str, length: int = 240) -> str:
    """Cut a text, and end it with a digest of all of it."""
    if len(text) <= length:
        return text
    return f"{text[:length]}...#{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def parsed(state: Any) -> Any:
    """Return a state, read from JSON if it comes as text."""
    if not isinstance(state, (str, bytes)):
        return state
    try:
        return json.loads(state)
    except ValueError as error:
        raise StateError(f"the state is no valid JSON; is it cut off? {error}") from None


def checked_state(state: Any, plan: dict[str, Any]) -> dict[str, Any]:
    """Return a state; an error unless it belongs to `plan`, saying what differs."""
    state = parsed(state)
    if not isinstance(state, dict) or not state.keys() >= _KEYS:
        missing = sorted(_KEYS - state.keys()) if isinstance(state, dict) else type(state).__name__
        raise StateError(f"expected a dict from state_dict(), got one without {missing}" if missing else "empty state")
    if state["version"] != VERSION:
        raise StateError(f"the state is of version {state['version']!r}, this batchup reads version {VERSION}")
    if not isinstance(state["plan"], dict):
        raise StateError(f"the plan of a state is a dict, got {state['plan']!r}")
    differences = [
        f"{name} was {state['plan'].get(name)!r} and is {value!r}"
        for name, value in plan.items()
        if state["plan"].get(name) != value
    ]
    if differences:
        raise StateError(f"the state was taken from something else: {'; '.join(differences)}")
    position = state["position"]
    if not isinstance(position, int) or isinstance(position, bool) or position < 0:
        raise StateError(f"the position of a state is an integer of at least 0, got {position!r}")
    return state


def step_at(position: int, world_size: int, ended: bool) -> int:
    """Return the step of a world at which so many one-rank batches had been handed out."""
    if ended:
        return -(-position // world_size)
    step, over = divmod(position, world_size)
    if over:
        raise StateError(
            f"the state was taken after {position} batches in all, which no step of {world_size} ranks begins with; "
            f"the nearest are {position - over} and {position - over + world_size}"
        )
    return step


def chunk_state(chunk: Any) -> Any:
    """Return a chunk of one batch as JSON."""
    if isinstance(chunk, IndexChunk):
        return {"indices": chunk.array().tolist(), "places": chunk.places().tolist()}
    if isinstance(chunk, list):
        return [chunk_state(part) for part in chunk]
    return {"sample_indices": chunk_state(chunk.sample_indices), "ds_index": chunk.ds_index}


def chunk_from_state(state: Any) -> Any:
    """Return the chunk of a state from `chunk_state`."""
    if isinstance(state, list):
        return [chunk_from_state(part) for part in state]
    if "ds_index" in state:
        return ChoiceBatch(chunk_from_state(state["sample_indices"]), state["ds_index"])
    return IndexChunk(np.array(state["indices"], np.intp), 1, np.array(state["places"], np.int64))
