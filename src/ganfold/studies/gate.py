"""The gate: a small trial that decides how many generated images are added. The answer may be none."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ganfold import device as devices
from ganfold.data import ImageSet
from ganfold.files import read_json, write_json
from ganfold.studies.classifiers import Recipe, Training, find_classifier, score
from ganfold.studies.parts import class_additions

RATIOS = (0.0, 0.5, 1.0, 2.0)  # generated images for each real one: the gate chooses one of these
PAIRS = 4  # trainings of the classifier at each ratio
PART = 0.8  # of the images to fit on, drawn anew for each pair


def decide(accuracies: dict[float, list[float]]) -> tuple[float, str]:
    """The best ratio if it beats ratio 0 by two standard errors, and 0 otherwise; with the reason.

    Args:
        accuracies: balanced accuracies at each ratio, in pairs.
    """
    base = np.array(accuracies[0.0])
    gains = {ratio: np.array(values) - base for ratio, values in accuracies.items() if ratio}
    best = max(gains, key=lambda ratio: float(gains[ratio].mean()))
    gain = gains[best].mean()
    error = gains[best].std(ddof=1) / math.sqrt(len(base)) if len(base) > 1 else math.inf
    change = (
        f"the best ratio, {best:g} generated images for each real one, changed balanced accuracy by "
        f"{100 * gain:+.1f} ± {100 * error:.1f} points on the validation images"
    )
    if gain > 2 * error:
        return best, f"Generated images are added: {change}."
    return 0.0, f"Nothing is added: {change}, which is less than two standard errors."


@dataclass(frozen=True)
class Gate:
    """The same classifier, trained with different numbers of generated images, in pairs."""

    images: ImageSet
    fit: np.ndarray  # int64: rows of the images that it is trained on
    validation: np.ndarray  # int64: rows of the images that judge it
    made: np.ndarray  # generated images, uint8 (N, C, H, W)
    intended: np.ndarray  # their classes, int64 (N,)
    kept: np.ndarray  # rows of those that passed the selection, int64
    factor: float | None  # see `parts.class_targets`
    recipe: Recipe
    steps: int
    device: str
    seed: int

    def run(self, folder: Path, say: Callable[[str], object]) -> dict[str, list[float]]:
        """Balanced accuracies at each ratio, in pairs. Each training leaves a file, and is not repeated if it is there.

        Args:
            folder: for these files.
            say: called with a line after each pair.
        """
        classify = find_classifier("cnn", steps=self.steps, device=devices.choose(self.device))
        images, labels = self.images.images, self.images.labels
        assert labels is not None
        accuracies: dict[str, list[float]] = {f"{ratio:g}": [] for ratio in RATIOS}
        for pair in range(PAIRS):
            random = np.random.default_rng([self.seed, pair])
            rows = np.sort(random.permutation(self.fit)[: round(PART * len(self.fit))])
            order = self.kept[random.permutation(len(self.kept))]
            for ratio in RATIOS:
                path = folder / f"{pair}-{ratio:g}.json"
                if not path.exists():
                    training = self._training(rows, order, ratio)
                    answers = classify(training, self.recipe, images[self.validation], self.seed + pair)
                    write_json(path, score(answers, labels[self.validation]))
                accuracies[f"{ratio:g}"].append(read_json(path)["balanced_accuracy"])
            shown = ", ".join(f"{ratio} {100 * values[-1]:.1f} %" for ratio, values in accuracies.items())
            say(f"Trial {pair + 1} of {PAIRS}: {shown}")
        return accuracies

    def _training(self, rows: np.ndarray, order: np.ndarray, ratio: float) -> Training:
        """These real images, and for each class the first generated ones in this order."""
        labels = np.asarray(self.images.labels)[rows]
        counts = np.bincount(labels, minlength=len(self.images.classes))
        additions = class_additions(counts, ratio, self.factor)
        extra = np.concatenate([order[self.intended[order] == label][:count] for label, count in enumerate(additions)])
        return Training(self.images.images[rows], labels, len(counts), self.made[extra], self.intended[extra])
