"""Draw docs/_static/order.png: order against position for a plan, a permutation and a block shuffle.

Run it with matplotlib installed: ``pip install -e '.[report]'``, then ``python docs/make_order_picture.py``.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np

from batchup.sampling import BlockShuffleSampler
from batchup.sampling.order import Key
from batchup.sampling.permutation import MixedPermutation, seeded_permutation

SAMPLES = 2000
BLOCK_SIZE, WINDOW = 50, 5
KEY = Key(seed=1234)


def main() -> None:
    """Draw the three orders side by side."""
    blocks = BlockShuffleSampler(SAMPLES, BLOCK_SIZE, WINDOW)
    orders = {
        "plan: a keyed bijection": MixedPermutation(SAMPLES, KEY.seeds(0)).at(np.arange(SAMPLES)),
        "permutation": seeded_permutation(SAMPLES, KEY, 0)[:],
        f"block shuffle ({BLOCK_SIZE} samples, {WINDOW} blocks)": next(
            blocks.shuffled_indices_batch_iterator(SAMPLES, KEY.seed)
        ),
    }
    figure, panels = plt.subplots(1, 3, figsize=(9.6, 3.6), sharey=True, layout="constrained", facecolor="white")
    for panel, (title, order) in zip(panels, orders.items(), strict=True):
        assert (np.sort(order) == np.arange(SAMPLES)).all()
        panel.scatter(np.arange(SAMPLES), order, s=2, color="#1f5fa8", linewidths=0)
        panel.set(title=title, xlabel="position in the epoch", xlim=(0, SAMPLES), ylim=(0, SAMPLES), aspect="equal")
        panel.set(xticks=range(0, SAMPLES + 1, 500), yticks=range(0, SAMPLES + 1, 500))
        panel.set_facecolor("white")
    panels[0].set_ylabel("index of the sample")
    figure.savefig(Path(__file__).parent / "_static" / "order.png", dpi=150, metadata={"Software": None})


if __name__ == "__main__":
    main()
