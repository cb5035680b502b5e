"""Does a conditional generator make the class that is requested? See
lab/entries/2026-11-24-does-cgan-make-the-requested-class.md.

    python lab/scripts/cgan_labels.py RUN...

A small convolutional classifier learns the run's training images. It is tested on the images that were held out, and
then reads 200 samples of each class. Coverage and recall of each class are those of `ganfold evaluate`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ganfold
from ganfold.data import ImageSet
from ganfold.images.pixels import to_float
from harness import protocol_of, record

EACH = 200  # samples of a class
EPOCHS = 10
BATCH = 64


def scaled(images: np.ndarray) -> Tensor:
    """uint8 (N, C, H, W) as float32 in [-1, 1], at most 32 pixels a side."""
    pixels = to_float(images, torch.contiguous_format)
    return F.avg_pool2d(pixels, max(1, pixels.shape[-1] // 32))


def classifier(images: ImageSet) -> nn.Sequential:
    """A classifier that has learnt the training images, each batch shifted by up to two pixels."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(images.channels, 32, 3, 1, 1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, 1, 1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(64, 64, 3, 1, 1), nn.BatchNorm2d(64), nn.ReLU(), nn.AdaptiveAvgPool2d(3),
        nn.Flatten(), nn.Dropout(0.3), nn.Linear(576, len(images.classes)),
    )  # fmt: skip
    assert images.labels is not None
    x, y = scaled(images.images[images.train]), torch.from_numpy(images.labels[images.train])
    steps = EPOCHS * (len(x) // BATCH)
    optimizer = torch.optim.AdamW(net.parameters(), 3e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    for _ in range(EPOCHS):
        order = torch.randperm(len(x))
        for chosen in order[: len(x) // BATCH * BATCH].view(-1, BATCH):
            down, right = torch.randint(-2, 3, (2,)).tolist()
            shown = F.pad(x[chosen], (2, 2, 2, 2), value=float(x.min()))
            shown = shown[:, :, 2 + down : 2 + down + x.shape[2], 2 + right : 2 + right + x.shape[3]]
            loss = F.cross_entropy(net(shown), y[chosen])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    return net.eval()


@torch.inference_mode()
def read(net: nn.Sequential, images: np.ndarray) -> np.ndarray:
    """The class that the classifier reads in each of the images, uint8 (N, C, H, W)."""
    return torch.cat([net(part).argmax(1) for part in torch.split(scaled(images), 500)]).numpy()


def measure(run: ganfold.Run, images: ImageSet, net: nn.Sequential) -> dict[str, float]:
    """How well the classifier reads held-out images, samples of each class and all samples; and the run's metrics."""
    assert images.labels is not None
    right = read(net, images.images[images.held_out]) == images.labels[images.held_out]
    print(f"{run!r}, checkpoint {run.checkpoint}")
    print(f"  the classifier reads {right.mean():.2%} of {len(right)} held-out images rightly")
    evaluation = ganfold.evaluate(run, progress=False)
    metrics, total = {"held-out images read": float(right.mean())}, 0.0
    for number, name in enumerate(images.classes):
        share = float((read(net, run.sample(EACH, label=name).transpose(0, 3, 1, 2)) == number).mean())
        total += share / len(images.classes)
        metrics[f"{name} read"] = share
        by_name = {metric.name: metric for metric in evaluation.classes.get(name, [])}
        shown = ", ".join(
            f"{f} {by_name[f].value:.2f} (real {by_name[f].floor:.2f})"
            for f in ("precision", "recall", "coverage")
            if f in by_name
        )
        print(f"  {name}: reads the class asked for in {share:.1%} of {EACH}; {shown}")
        metrics |= {f"{name} {f}": by_name[f].value for f in ("precision", "recall", "coverage") if f in by_name}
    print(f"  together {total:.2%} of {EACH * len(images.classes)} samples")
    metrics["samples read"] = total
    for name in ("KID", "precision", "recall", "coverage"):
        print(f"  {name} {evaluation[name].value:.3g}, real images {evaluation[name].floor:.3g}")
        metrics[name] = evaluation[name].value
    return metrics


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--checkpoint", choices=["best", "last"], default="best")
    requested = parser.parse_args()
    classifiers: dict[str, nn.Sequential] = {}
    for path in requested.runs:
        run = ganfold.load(path, requested.checkpoint)
        images = run.images(progress=False)
        if images.fingerprint not in classifiers:
            classifiers[images.fingerprint] = classifier(images)
        metrics = measure(run, images, classifiers[images.fingerprint])
        record("cgan_labels", metrics, seed=run.record.settings.seed, data=run.record.data, **protocol_of(run))


if __name__ == "__main__":
    main()
