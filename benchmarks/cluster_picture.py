"""The picture of docs/explanation/cluster_scale.md: batches a second over the number of nodes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

STYLES = {
    0: ("#1f5fa8", "o", "one driver"),
    8: ("#c8641b", "s", "a rank for every 8 nodes"),
    1: ("#3a8c4a", "^", "a rank for every node"),
}
WORDS = {"workers": "workers", "driver": "thread", "link": "link"}


def draw(record: dict[str, Any], path: Path) -> None:
    """Draw one panel for each load, at the fastest link."""
    link = max(record["assumed"]["links_Gbit"])
    works = sorted({run["work"] for run in record["runs"]})
    figure, panels = plt.subplots(1, len(works), figsize=(11, 4.4), layout="constrained", facecolor="white")
    for panel, work in zip(panels, works, strict=True):
        _panel(panel, [run for run in record["runs"] if run["work"] == work and run["link_gbit"] == link])
        panel.set_xlabel(f"nodes of {record['assumed']['per_node']} workers")
    panels[0].set_ylabel("batches a second")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    figure.savefig(path, dpi=150, metadata={"Software": None})
    plt.close(figure)


def _panel(panel: Any, runs: list[dict[str, Any]]) -> None:
    alone = [run for run in runs if run["ranks_of"] == 0]
    nodes, most = [run["nodes"] for run in alone], [run["closed"]["workers"] for run in alone]
    panel.plot(nodes, most, color="#d9d9d9", linewidth=6, solid_capstyle="round", label="what the workers could do")
    for of_nodes, (color, marker, label) in STYLES.items():
        mine = [run for run in runs if run["ranks_of"] == of_nodes]
        xs, ys = [run["nodes"] for run in mine], [run["batches"] for run in mine]
        panel.plot(xs, ys, color=color, marker=marker, markersize=4, linewidth=1.5, label=label)
    panel.set(xscale="log", yscale="log")
    panel.set_title(f"{alone[0]['work'] * 1e3:g} ms and {alone[0]['size'] / 1e6:g} MB a batch\n", fontsize=11)
    changes = _changes(alone)
    panel.text(0.5, 1.03, _said(changes), color=STYLES[0][0], fontsize=8.5, ha="center", transform=panel.transAxes)
    if changes and changes[0][0] > nodes[0]:
        before = max(number for number in nodes if number < changes[0][0])
        panel.axvline((before * changes[0][0]) ** 0.5, color=STYLES[0][0], linewidth=0.8, linestyle=(0, (4, 3)))
    panel.xaxis.set_major_locator(FixedLocator([1, 10, 100, 1000]))
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.grid(color="#e4e4e4", linewidth=0.6)
    panel.set_axisbelow(True)


def _changes(alone: list[dict[str, Any]]) -> list[tuple[int, str]]:
    """Return from how many nodes on what is the limit of one driver, after its workers."""
    before, changes = "workers", []
    for run in alone:
        if run["limit"] != before:
            before = run["limit"]
            changes.append((run["nodes"], before))
    return changes


def _said(changes: list[tuple[int, str]]) -> str:
    """Put the changes into words."""
    words = ", ".join(f"{WORDS[limit]} from {nodes:,}" for nodes, limit in changes)
    return "one driver's limit: " + (f"{words} node{'s' * (changes[-1][0] > 1)} on" if changes else "its workers")
