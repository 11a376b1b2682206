"""Foretell how a Ray pool grows with its cluster: `python benchmarks/cluster_scale.py`, after cluster_costs.py."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from statistics import median
from typing import Any

import cluster_page
import cluster_picture
from cluster_model import AT_ONCE, GOAL, Costs, Loss, Setup, closed_form, simulated, with_losses
from cluster_seats import WAITING
from environments import ROOT

MEASURED = ROOT / "benchmarks" / "results" / "cluster_costs.json"
RESULTS = ROOT / "benchmarks" / "results" / "cluster_scale.json"
PAGE = ROOT / "docs" / "explanation" / "cluster_scale.md"
PICTURE = ROOT / "docs" / "_static" / "cluster_scale.png"
NODES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
PER_NODE = 16
LOADS = ((1e-3, 100_000), (20e-3, 1_000_000), (200e-3, 10_000_000))  # seconds and bytes of a batch
LINKS_GBIT = (10, 100)
RANKS_OF = (8, 1)  # nodes for each rank
MEMORY = 32 * 2**30
DEFAULT_MEMORY = 2**30
SAMPLES = 10**10
EPOCHS = ((256, 20e-3, 1_000_000), (1024, 80e-3, 4_000_000))
LOSSES = (None, Loss(60, 1, 30), Loss(60, 15, 30), Loss(10, 1, 30), Loss(10, 15, 30))
LOSS_NODES, LOSS_SECONDS = 8, 240.0
AHEAD_NODES = 8
SLOW = 2.0
SLACK = 1.1  # what a simulation may exceed the closed form by: tasks are of uneven length


def main() -> None:
    """Simulate, look whether it can be true, write the raw results, the page and the picture."""
    measured = json.loads(MEASURED.read_text())
    costs = costs_from(measured)
    record = {
        "name": "cluster_scale",
        "date": time.strftime("%Y-%m-%d"),
        "costs": asdict(costs),
        "assumed": {
            "per_node": PER_NODE,
            "links_Gbit": LINKS_GBIT,
            "memory": MEMORY,
            "default_memory": DEFAULT_MEMORY,
            "ranks_of": RANKS_OF,
        },
        "checks": [checked(each, costs) for each in measured["checks"]],
        "runs": list(runs(costs, measured)),
        "epochs": list(epochs(costs, measured)),
        "aheads": list(aheads(costs)),
        "losses": list(losses(costs)),
        "spans": [span(costs, work) for work, _ in LOADS],
    }
    require_sense(record, costs)
    RESULTS.write_text(json.dumps(record, indent=1) + "\n")
    PAGE.write_text(cluster_page.page(record, measured))
    cluster_picture.draw(record, PICTURE)


def costs_from(measured: dict[str, Any]) -> Costs:
    """Return the medians of what was measured."""
    figures = {name: median(values) for name, values in measured["figures"].items()}
    seats = tuple(measured["seats"])
    books = tuple(figures[f"books_{each}_0_s"] for each in seats)
    full = tuple(figures[f"books_{each}_{WAITING}_s"] for each in seats)
    waits = tuple(max(0.0, some - none) / WAITING for some, none in zip(full, books, strict=True))
    return Costs(
        task=figures["task_cpu_s"],
        batch=figures["batch_cpu_s"],
        byte=figures["cpu_per_MB_s"] / 1e6,
        between=figures["between_tasks_s"],
        latency=figures["latency_s"],
        store=figures["store_16MB_Bps"],
        seats=seats,
        books=books,
        waits=waits,
    )


def one_driver(nodes: int, work: float, size: int, link_gbit: float, costs: Costs) -> Setup:
    """Return a pool of all nodes, which has two tasks made ahead for each worker."""
    workers = nodes * PER_NODE
    return Setup(
        workers=workers,
        per_node=PER_NODE,
        work=work,
        size=size,
        link=min(link_gbit * 1e9 / 8, costs.store),
        remote=1 - 1 / nodes,
        ahead=AT_ONCE * workers * max(1, int(GOAL / work)),
        memory=MEMORY,
    )


def one_rank(setup: Setup, of_nodes: int, figures: dict[str, Any]) -> tuple[Setup, int]:
    """Return the pool of one rank of several, among which the workers of a pool are dealt out; and how many ranks."""
    nodes = setup.workers // setup.per_node
    ranks = max(1, nodes // of_nodes)
    workers = setup.workers // ranks
    index = 0.0
    if ranks > 1:
        world = 8 if ranks <= 8 else 125
        index = median(figures[f"index_plain_{world}_s"]) - median(figures["index_plain_1_s"])
    ahead = setup.ahead * workers // setup.workers
    return replace(setup, workers=workers, ahead=ahead, index=max(0.0, index)), ranks


def runs(costs: Costs, measured: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Simulate every load, link and number of nodes, with one driver and with ranks."""
    for work, size in LOADS:
        for link in LINKS_GBIT:
            for nodes in NODES:
                setup = one_driver(nodes, work, size, link, costs)
                for of_nodes in (0, *RANKS_OF):
                    if of_nodes and nodes // of_nodes < 2:
                        continue
                    pool, ranks = one_rank(setup, of_nodes, measured["figures"]) if of_nodes else (setup, 1)
                    yield _run(pool, ranks, costs, nodes=nodes, link_gbit=link, ranks_of=of_nodes)
            print(f"{work:g} s, {link} Gbit/s")


def _run(setup: Setup, ranks: int, costs: Costs, **about: Any) -> dict[str, Any]:
    rates = simulated(setup, costs)
    closed = {name: ranks * rate for name, rate in closed_form(setup, costs).items()}
    return {
        **about,
        "ranks": ranks,
        "work": setup.work,
        "size": setup.size,
        "together": setup.together,
        "closed": {name: rate for name, rate in closed.items() if rate < math.inf},
        "limit": min(closed, key=closed.__getitem__),
        **rates._asdict(),
        "batches": ranks * rates.batches,
    }


def epochs(costs: Costs, measured: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Simulate an epoch of many samples: one driver, and a rank for every node."""
    for batch, work, size in EPOCHS:
        for nodes in NODES:
            setup = one_driver(nodes, work, size, LINKS_GBIT[-1], costs)
            pool, ranks = one_rank(setup, 1, measured["figures"])
            hours = SAMPLES / batch / 3600
            alone, together = simulated(setup, costs).batches, ranks * simulated(pool, costs).batches
            yield {"nodes": nodes, "batch": batch, "one_driver_h": hours / alone, "ranks_h": hours / together}


def aheads(costs: Costs) -> Iterator[dict[str, Any]]:
    """Simulate other numbers of batches made ahead, and the memory that a pool has by default."""
    work, size = LOADS[-1]
    setup = one_driver(AHEAD_NODES, work, size, LINKS_GBIT[-1], costs)
    small = replace(setup, size=size // 100)
    for times in (1, 2, 3, 4, 8):
        ahead = times * setup.workers
        yield {"ahead_per_worker": times, "memory": MEMORY, **_few(replace(small, ahead=ahead), costs)}
    for memory in (MEMORY, DEFAULT_MEMORY):
        yield {"ahead_per_worker": AT_ONCE, "memory": memory, **_few(replace(setup, work=SLOW, memory=memory), costs)}


def _few(setup: Setup, costs: Costs) -> dict[str, Any]:
    nodes = setup.workers // setup.per_node
    return {"nodes": nodes, "work": setup.work, "size": setup.size, **simulated(setup, costs)._asdict()}


def losses(costs: Costs) -> Iterator[dict[str, Any]]:
    """Simulate the loss of nodes."""
    work, size = LOADS[-1]
    setup = one_driver(LOSS_NODES, work, size // 100, LINKS_GBIT[-1], costs)
    for loss in LOSSES:
        rates = with_losses(setup, costs, loss, LOSS_SECONDS)
        yield {"loss": None if loss is None else asdict(loss), "nodes": LOSS_NODES, **rates._asdict()}


def checked(check: dict[str, Any], costs: Costs) -> dict[str, Any]:
    """Set the simulation of a pool of two workers against what was measured."""
    together = max(1, round(check["together"]))
    work, size, ahead = median(check["work_s"]), check["bytes"], check["ahead"]
    setup = Setup(2, 2, work, size, math.inf, 0.0, ahead, MEMORY, chunk=together)
    measured, foretold = median(check["batches_per_s"]), simulated(setup, costs).batches
    return {
        "seconds": check["seconds"],
        "work": setup.work,
        "together": check["together"],
        "aim": max(1, min(ahead // (2 * AT_ONCE), int(GOAL / work))),
        "measured": measured,
        "simulated": foretold,
        "closed": min(closed_form(setup, costs).values()),
        "ratio": foretold / measured,
    }


def span(costs: Costs, work: float) -> dict[str, float]:
    """Return how many workers a driver can keep busy with batches that take so long, if its link is no limit."""
    workers = 1
    while (together := max(1, int(GOAL / work))) and (
        workers * together * 0.999 / (together * work + costs.between)
        < together / (costs.per_task(workers) + together * costs.batch)
    ):
        workers += 1
    return {"work": work, "workers": workers, "batches": workers * together / (together * work + costs.between)}


def require_sense(record: dict[str, Any], costs: Costs) -> None:
    """Raise `ValueError` where the simulation does what nothing can."""
    for run in record["runs"]:
        _require(run["batches"] <= SLACK * min(run["closed"].values()), f"faster than its limits: {run}")
        _require(run["batches"] > 0.1 * min(run["closed"].values()), f"far below its limits: {run}")
        _require(min(run["driver"], run["link"], run["workers"]) >= 0, f"a negative share: {run}")
    setup = one_driver(2, *LOADS[0], LINKS_GBIT[0], costs)
    _require(simulated(setup, costs) == simulated(setup, costs), "not the same again")
    free = replace(costs, task=1e-9, batch=0.0, byte=0.0, latency=0.0, books=(0.0,) * len(costs.books))
    alone = replace(setup, link=math.inf, ahead=10 * setup.ahead)
    exact = closed_form(alone, free)["workers"]
    _require(abs(simulated(alone, replace(free, waits=free.books)).batches / exact - 1) < 0.05, "not the workers' rate")
    rates = [each["batches"] for each in record["losses"]]
    _require(rates[0] >= 0.99 * max(rates), "gains by losses")


def _require(holds: Any, otherwise: str) -> None:
    if not holds:
        raise ValueError(f"the simulation is wrong: {otherwise}")


if __name__ == "__main__":
    main()
