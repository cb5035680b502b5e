"""The gate: a small trial that decides how many generated images are added, where none is an answer."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ganfold import device as devices
from ganfold.data import ImageSet
from ganfold.files import read_json, write_json
from ganfold.studies.classifiers import Recipe, Training, find, judged
from ganfold.studies.parts import additions

RATIOS = (0.0, 0.5, 1.0, 2.0)  # generated images for each real one that the gate chooses from
PAIRS = 4  # trainings of the classifier at each ratio
PART = 0.8  # of the images that may be trained on, drawn anew for each of them


def decide(gate: dict[float, list[float]]) -> tuple[float, str]:
    """The ratio, by balanced accuracies in pairs: the best one if it beats 0 by two standard errors, else 0."""
    base = np.array(gate[0.0])
    gains = {ratio: np.array(values) - base for ratio, values in gate.items() if ratio}
    best = max(gains, key=lambda ratio: float(gains[ratio].mean()))
    gain = gains[best].mean()
    error = gains[best].std(ddof=1) / math.sqrt(len(base)) if len(base) > 1 else math.inf
    said = (
        f"the best ratio, {best:g} generated images for each real one, changed balanced accuracy by "
        f"{100 * gain:+.1f} ± {100 * error:.1f} points on the validation images"
    )
    if gain > 2 * error:
        return best, f"Generated images are added: {said}."
    return 0.0, f"Nothing is added: {said}, which is less than two standard errors."


@dataclass(frozen=True)
class Trial:
    """The same classifier trained with different amounts of generated images, in pairs."""

    images: ImageSet
    fit: np.ndarray  # int64: the images that it is trained on
    validation: np.ndarray  # int64: those that judge
    made: np.ndarray  # generated images that passed the selection, uint8 (N, C, H, W)
    intended: np.ndarray  # their classes
    factor: float | None  # see `parts.additions`
    recipe: Recipe
    steps: int
    device: str
    seed: int

    def run(self, folder: Path, say: Callable[[str], Any]) -> dict[str, list[float]]:
        """Balanced accuracies by ratio; each training leaves its file, and is not repeated where that is there."""
        classify = find("cnn", steps=self.steps, device=devices.choose(self.device))
        images, labels = self.images.images, self.images.labels
        assert labels is not None
        found: dict[str, list[float]] = {f"{ratio:g}": [] for ratio in RATIOS}
        for pair in range(PAIRS):
            random = np.random.default_rng([self.seed, pair])
            rows = np.sort(random.permutation(self.fit)[: round(PART * len(self.fit))])
            order = random.permutation(len(self.made))
            counts = np.bincount(labels[rows], minlength=len(self.images.classes))
            for ratio in RATIOS:
                path = folder / f"{pair}-{ratio:g}.json"
                if not path.exists():
                    wanted = additions(counts, ratio, self.factor)
                    some = [order[self.intended[order] == label][:many] for label, many in enumerate(wanted)]
                    extra = np.concatenate(some)
                    training = Training(images[rows], labels[rows], len(counts), self.made[extra], self.intended[extra])
                    answers = classify(training, self.recipe, images[self.validation], self.seed + pair)
                    write_json(path, judged(answers, labels[self.validation]))
                found[f"{ratio:g}"].append(read_json(path)["balanced_accuracy"])
            say(f"Trial {pair + 1} of {PAIRS}: " + ", ".join(f"{r} {100 * v[-1]:.1f} %" for r, v in found.items()))
        return found
