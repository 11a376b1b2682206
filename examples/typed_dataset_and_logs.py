"""Train a network of PyTorch on a folder of images, with data, logs and checkpoints in HDF5 files.

    python examples/typed_dataset_and_logs.py [FOLDER]

The images are real handwritten digits, written as PNG files into a directory for each class. Everything goes to FOLDER,
or to a folder for temporary files.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

from batchup import typed_files as h5m

try:
    import torch
    from PIL import Image
    from sklearn.datasets import load_digits
    from torch import nn
except ImportError as error:
    raise SystemExit('this example needs PyTorch and others: pip install "batchup[torch,image,hdf5,demo]"') from error

EPOCHS = 4
BATCH_SIZE = 32
TRAIN = 1437  # of 1,797 images


class Experiment(h5m.TypedFile):
    """What is learned from. It is made once, and only read from then on."""

    images = h5m.Image("L")
    labels = h5m.DirLabels()


class Run(h5m.TypedFile):
    """What one training leaves behind. It is written to all the time, and so a file of its own."""

    logs = h5m.Group(loss=h5m.Array(), accuracy=h5m.Array())
    model = h5m.TensorDict()


def write_images(folder: Path) -> list[str]:
    """Write the digits as files, `folder/class/number.png`; return their paths."""
    digits = load_digits()
    paths = []
    for number, (pixels, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        path = folder / str(label) / f"{number:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((pixels * 15.9).astype(np.uint8)).save(path)
        paths.append(str(path))
    return paths


def network() -> nn.Module:
    """Return an untrained model."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 10))


def scaled(images: torch.Tensor) -> torch.Tensor:
    """Return bytes as floats between 0 and 1."""
    return images.float() / 255


@torch.no_grad()
def accuracy(model: nn.Module, file: h5m.TypedFile) -> float:
    """Return the share of the images of a file that a model reads correctly."""
    right = 0.0
    for images, labels in file.data_source(["images", "labels"]).batch_iterator(256):
        guessed = model(scaled(torch.from_numpy(images))).argmax(dim=1)
        right += (guessed == torch.from_numpy(labels)[:, 0]).sum().item()
    return right / len(file.index)


def train(model: nn.Module, exp: Experiment, test: Experiment, run: Run) -> None:
    """Train for some epochs; write each loss, and a checkpoint behind each epoch."""
    loader = exp.serve(
        {
            "images": h5m.Input("images", h5m.GetId()),
            "labels": h5m.Target("labels", h5m.GetId()),
        },
        batch_size=BATCH_SIZE,
        shuffle=True,
    )
    # room for all that will be logged: it is written in place, and what is not there yet is NaN
    run.logs.add("train", {"loss": np.full(EPOCHS * len(loader), np.nan), "accuracy": np.full(EPOCHS, np.nan)})
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    step = 0
    for epoch in range(EPOCHS):
        for batch in loader:
            loss = nn.functional.cross_entropy(model(scaled(batch["images"])), batch["labels"][:, 0])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            run.logs.loss.iset("train", step, loss.item())
            step += 1
        run.logs.accuracy.iset("train", epoch, accuracy(model, test))
        run.add(f"epoch {epoch}", {"model": model.state_dict()}, safe=True)
        losses = run.logs.loss.get("train")[epoch * len(loader) : step]
        print(f"epoch {epoch}: loss {losses.mean():.3f}, accuracy {run.logs.accuracy.get('train')[epoch]:.1%}")


def main(folder: Path) -> None:
    """Make the file of images, train, and begin again with what was kept of the training."""
    torch.manual_seed(1234)
    paths = write_images(folder / "digits")
    order = np.random.default_rng(1234).permutation(len(paths))
    exp = Experiment.create(folder / "train.h5", [paths[i] for i in order[:TRAIN]], parallelism="threads")
    test = Experiment.create(folder / "test.h5", [paths[i] for i in order[TRAIN:]], parallelism="threads")
    print(f"put {len(exp.index):,} and {len(test.index):,} images into files")

    with Run(folder / "run.h5", "w") as run:
        train(network(), exp, test, run)

    run = Run(folder / "run.h5")
    best = int(np.nanargmax(run.logs.accuracy.get("train")))
    model = network()
    model.load_state_dict(run.model.get(f"epoch {best}"))
    print(f"the model of epoch {best}, read from the file: accuracy {accuracy(model, test):.1%}\n")
    run.info()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(Path(temporary))
