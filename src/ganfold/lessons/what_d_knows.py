"""docs/learn/what-d-knows.md: D's features as a classifier's input, and as a way to find things."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from ganfold.lessons.drawing import bars, pictures
from ganfold.lessons.experiment import Bench, Claim, Experiment, Outcome, several
from ganfold.lessons.plain import as_bytes, convolutional, digits, train
from ganfold.metrics.probing import features_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STEPS, BATCH, WIDTH = 1200, 16, 16
HELD_OUT, LABELS, BOARDS, CELLS = 1000, 20, 200, 25
TRAINED, UNTRAINED, PIXELS = "features of D", "features of D, untrained", "pixels"


def accuracy(train: np.ndarray, labels: np.ndarray, test: np.ndarray, truth: np.ndarray) -> float:
    """Of a linear classifier on standardised features."""
    from sklearn.linear_model import RidgeClassifierCV

    mean, deviation = train.mean(0), train.std(0) + 1e-6
    model = RidgeClassifierCV(np.logspace(0, 5, 11)).fit((train - mean) / deviation, labels)
    return float((model.predict((test - mean) / deviation) == truth).mean())


def located(features: np.ndarray, labels: np.ndarray, seed: int) -> tuple[float, float, float]:
    """How often the most similar of 25 digits is the very image, or another one of its class; and chance for that."""
    random = np.random.default_rng(seed)
    centred = features - features.mean(0)
    unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    exact = kind = chance = 0.0
    for _ in range(BOARDS):
        board = random.choice(len(unit), CELLS, replace=False)
        query = board[random.integers(CELLS)]
        exact += board[(unit[board] @ unit[query]).argmax()] == query
        others = board[board != query]
        kind += labels[others[(unit[others] @ unit[query]).argmax()]] == labels[query]
        chance += (labels[others] == labels[query]).mean()
    return exact / BOARDS, kind / BOARDS, chance / BOARDS


def measure(bench: Bench) -> Outcome:
    outcome = Outcome()
    images, labels = digits()
    pixels = as_bytes(images)
    test, truth = pixels[-HELD_OUT:], labels[-HELD_OUT:]
    for _, seed in bench.each([("D learns", seed) for seed in bench.seeds]):
        order = np.random.default_rng(seed).permutation(len(images) - HELD_OUT)
        few = np.concatenate([order[labels[order] == label][:LABELS] for label in range(10)])
        torch.manual_seed(seed)
        G, D = convolutional(WIDTH)
        torch.manual_seed(seed + 1000)
        untrained = convolutional(WIDTH)[1]
        train(G, D, images[:-HELD_OUT], bench.scaled(STEPS), batch=BATCH, seed=seed, bench=bench)
        for name, network in ((TRAINED, D), (UNTRAINED, untrained), (PIXELS, None)):
            network = settled(network, images[:2048]) if network else None
            features = [_features(network, part) for part in (pixels[few], test)]
            exact, kind, chance = located(features[1], truth, seed)
            values = {
                "accuracy": accuracy(features[0], labels[few], features[1], truth),
                "finds the image": exact, "finds its kind": kind, "chance of its kind": chance,
            }  # fmt: skip
            outcome.add(name, seed, **values)
    outcome.shown["board"] = test[np.random.default_rng(0).choice(len(test), CELLS, replace=False)]
    return outcome


def _features(network: nn.Module | None, images: np.ndarray) -> np.ndarray:
    if network is None:
        return images.reshape(len(images), -1).astype(np.float32)
    return features_of(network, images)


@torch.no_grad()
def settled(network: nn.Module, images: Tensor) -> nn.Module:
    """The network with the statistics of these real images in each BatchNorm: an untrained one has none."""
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.reset_running_stats()
            layer.momentum = None  # a plain mean over all batches
    network.train()
    for batch in images.split(256):  # type: ignore[no-untyped-call]
        network(batch)
    return network.eval()


def claims(outcome: Outcome) -> list[Claim]:
    right = {name: outcome.of(name, "accuracy") for name in (TRAINED, UNTRAINED, PIXELS)}
    kind = {name: outcome.of(name, "finds its kind") for name in (TRAINED, PIXELS)}
    exact = outcome.of(TRAINED, "finds the image")
    return [
        Claim(
            "D's features hold the class better than pixels do, though D never saw a label.",
            f"A linear classifier from {LABELS} labels a class is right for {several(right[TRAINED])} of digits on D's "
            f"features, and for {several(right[PIXELS])} on pixels.",
            min(right[TRAINED]) > max(right[PIXELS]),
        ),
        Claim(
            "Most of that comes from the convolutions, not from the training.",
            f"On an untrained D it is right for {several(right[UNTRAINED])}.",
            outcome.mean(TRAINED, "accuracy") - outcome.mean(UNTRAINED, "accuracy")
            < outcome.mean(UNTRAINED, "accuracy") - outcome.mean(PIXELS, "accuracy"),
        ),
        Claim("An exact copy among 25 images is always found.", f"The share is {several(exact)}.", min(exact) == 1.0),
        Claim(
            "Against the hope: another digit of the same kind is not found better by D's features than by pixels.",
            f"D's features find one in {several(kind[TRAINED])} of the cases, and pixels in {several(kind[PIXELS])}.",
            sum(kind[TRAINED]) <= sum(kind[PIXELS]),
        ),
    ]


def draw(outcome: Outcome, figure: Figure) -> None:
    left, middle, right = figure.subplots(1, 3, width_ratios=[1.6, 1.6, 1])
    bars(left, outcome, "accuracy", f"Linear classifier, {LABELS} labels a class")
    left.set_xlim(0.5, 1)
    bars(middle, outcome, "finds its kind", "Finds another of the same kind among 24")
    middle.axvline(outcome.mean(PIXELS, "chance of its kind"), color="black", linewidth=0.8, linestyle=":")
    middle.set_yticklabels([])
    middle.set_xlabel("dotted: chance", fontsize=8)
    pictures(right, outcome.shown["board"], "Where is it? One of 25", 5)


EXPERIMENT = Experiment(measure, claims, draw, (11, 2.6))
