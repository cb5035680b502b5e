"""`ganfold evaluate`: how near generated images are to real ones, and how near real ones are to each other."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

import ganfold
from ganfold import data
from ganfold import device as devices
from ganfold.data import ImageSet
from ganfold.errors import GanfoldError
from ganfold.files import write_json
from ganfold.metrics.distances import frechet, frechet_infinity, kid
from ganfold.metrics.features import Extractor, extractor
from ganfold.metrics.manifold import Manifold, manifold, mean_and_error
from ganfold.metrics.paired import TaskFigure
from ganfold.runs.run import Run, as_run

FD_ENOUGH = 5000  # images: below it, or below twice the number of features, the Fréchet distance mostly tells the count
LEAST = 50  # images on each side: below it no figure here means anything
CLASS_LEAST = 20  # of a class
MOST = 50_000  # images on each side
TASKS = {
    "srgan": "ganfold.tasks.super_resolution",
    "context-encoder": "ganfold.tasks.inpainting",
    "pix2pix": "ganfold.tasks.translation",
    "cyclegan": "ganfold.tasks.translation",
    "gawwn": "ganfold.tasks.captions",
}
"""Of a GAN that has a task: the module whose `figures(run, seed, count)` measure it."""


@dataclass(frozen=True)
class Figure:
    """One metric of the generated images, and of real images in their place."""

    name: str
    better: Literal["lower", "higher"]
    value: float
    error: float | None  # standard error of `value`; None where there is no honest one
    floor: float  # the same metric with as many other real images in the place of the generated ones
    floor_error: float | None


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found: every figure beside its floor, with all that one must know to compare it."""

    figures: list[Figure]
    classes: dict[str, list[Figure]]  # the same of each class alone; where only the reals have classes, of the reals
    notes: list[str]
    protocol: dict[str, Any]
    task: list[TaskFigure] = field(default_factory=list)  # what its GAN is for, beside what is to be beaten

    def __getitem__(self, name: str) -> Figure:
        """The figure of this name, such as "KID"."""
        return next(figure for figure in self.figures if figure.name == name)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Evaluation:
        """What `to_json` gave, back again."""
        classes = {name: [Figure(**figure) for figure in figures] for name, figures in content["classes"].items()}
        figures = [Figure(**figure) for figure in content["figures"]]
        task = [TaskFigure(**figure) for figure in content.get("task", [])]
        return cls(figures, classes, content["notes"], content["protocol"], task)

    def lines(self) -> list[str]:
        """The table and the notes, for the console."""
        rows = [("", "generated", "real (floor)", "better")]
        rows += [(f.name, _shown(f.value, f.error), _shown(f.floor, f.floor_error), f.better) for f in self.figures]
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        for figure in self.task:
            values = ", ".join(f"{name} {value:.4g}" for name, value in figure.values.items())
            lines.append(f"{figure.name} ({figure.better} is better): {values}")
        if self.classes:
            names = [figure.name for figure in next(iter(self.classes.values()))]
            lines += ["", "By class, generated / real:"]
            for name, figures in self.classes.items():
                found = {f.name: f"{f.name} {f.value:.3g} / {f.floor:.3g}" for f in figures}
                lines.append(f"  {name}: " + ", ".join(found[n] for n in names if n in found))
        lines += ["", *self.notes, "", "Protocol: " + "; ".join(f"{k} {v}" for k, v in self.protocol.items())]
        return lines


def evaluate(
    images: str | Path | Run,
    reference: str | Path | None = None,
    *,
    features: str = "efficientnet",
    weights: str | Path | None = None,
    count: int | None = None,
    seed: int = 0,
    checkpoint: str = "best",
    resolution: int | None = None,
    device: str = "auto",
    out: str | Path | None = None,
    progress: bool = True,
) -> Evaluation:
    """Compare generated images with real ones.

    Three sets of equal size are compared: generated images, a reference of real images, and other real images whose
    figures are the floor: what a generator would score that had become the data itself.

    Args:
        images: a run (its reference are the images that it held out, its floor comes from its training images), or
            a folder, zip or array of images that anything has made.
        reference: real images instead; one half of them (drawn by `seed`) is the reference, the other gives the floor.
        features, weights: what looks at the images; see `ganfold.metrics.features.extractor`.
        count: images in each set [as many as there are real ones, at most 50,000].
        seed: which samples of a run, and which real images.
        checkpoint: "best" or "last", of a run.
        resolution: pixels a side at which two folders are compared [that of the generated images].
        device: where to compute.
        out: where to write the JSON [RUN/evaluation.json; for a folder nowhere].
        progress: show a bar while images are prepared.

    Raises:
        GanfoldError: no such images, too few of them, no reference, features that cannot be had.
    """
    looking = extractor(features, weights, devices.choose(device))
    if run := as_run(images, checkpoint):
        if resolution is not None:
            raise GanfoldError(f"{run.path} is a run and is compared at the size it makes: leave out --resolution")
        sets = _of_run(run, reference, count, seed, progress)
        out = out or run.path / "evaluation.json"
    else:
        if reference is None:
            raise GanfoldError(f"{images} is not a run: give --reference, the real images to compare it with")
        sets = _of_folders(images, reference, count, seed, resolution, progress)  # type: ignore[arg-type]
    found = _compare(sets, looking)
    if run and run.config["gan"] in TASKS:
        measure = import_module(TASKS[run.config["gan"]]).figures
        found = replace(found, task=measure(run, seed, len(sets.reference)))
    if out:
        write_json(Path(out), found.to_json())
    return found


@dataclass(frozen=True)
class _Sets:
    """Three sets of one size, uint8 (N, C, H, W), with labels where there are any."""

    generated: np.ndarray
    reference: np.ndarray
    floor: np.ndarray
    classes: tuple[str, ...]
    labels: dict[str, np.ndarray]  # by the names above
    notes: list[str]
    protocol: dict[str, Any]


def _of_run(run: Run, reference: str | Path | None, count: int | None, seed: int, progress: bool) -> _Sets:
    trained = run.config["data"]
    notes: list[str] = []
    if reference is None:
        reals = run.images(progress)
        first, second = reals.held_out, reals.train
        split = "held-out images as reference, training images for the floor"
    else:
        fit = run.config["settings"]["fit"]
        reals = data.load(
            reference,
            resolution=trained["resolution"],
            channels=trained["channels"],
            fit=fit,
            held_out=0,
            progress=progress,
        )
        first, second = _halves(reals, seed)
        split = f"one half of {reference} as reference, the other for the floor"
    if not len(first):
        first, second = _halves(reals, seed)
        split = "one half of the training images as reference, the other for the floor"
        notes.append(
            "Nothing was held out of training, so a generator that copies does well here: "
            "`ganfold copies` tells, or train with --held-out 0.2."
        )
    number = _count(count, len(first), len(second))
    first, second = data.drawn(first, number, seed), data.drawn(second, number, seed)
    labels = _labels(reals, first, second)
    if labels and run.classes == reals.classes and (drawn := run.labels(number, seed)) is not None:
        labels["generated"] = drawn
    return _Sets(
        generated=np.ascontiguousarray(run.sample(number, seed).transpose(0, 3, 1, 2)),
        reference=reals.images[first],
        floor=reals.images[second],
        classes=reals.classes,
        labels=labels,
        notes=notes,
        protocol={
            "images": f"{number:,} in each set, {trained['resolution']} px",
            "split": split,
            "data": reals.fingerprint,
            "run": f"{run.config['gan']}, {run.checkpoint}",
            "seed": seed,
        },
    )


def _of_folders(
    generated: str | Path,
    reference: str | Path,
    count: int | None,
    seed: int,
    resolution: int | None,
    progress: bool,
) -> _Sets:
    made = data.load(generated, resolution=resolution, held_out=0, keep_duplicates=True, progress=progress)
    reals = data.load(reference, resolution=made.resolution, held_out=0, progress=progress)
    notes = []
    if reals.findings.native["median"] != made.resolution:
        notes.append(
            f"{reference} is {reals.findings.native['median']} px and is compared at {made.resolution} px, "
            f"the size of {generated if resolution is None else '--resolution'}."
        )
    if reals.channels != made.channels:
        notes.append(f"{made.source} has {made.channels} channels, {reals.source} {reals.channels}: both become RGB.")
    first, second = _halves(reals, seed)
    number = _count(count, len(made), len(first), len(second))
    chosen = data.drawn(np.arange(len(made)), number, seed)
    first, second = data.drawn(first, number, seed), data.drawn(second, number, seed)
    labels = _labels(reals, first, second)
    if labels and made.labels is not None:
        if set(made.classes) <= set(reals.classes):
            numbers = np.array([reals.classes.index(name) for name in made.classes])
            labels["generated"] = numbers[made.labels[chosen]]
        else:
            notes.append(f"The classes of {made.source} are not those of {reals.source}, so they are not compared.")
    return _Sets(
        generated=made.images[chosen],
        reference=reals.images[first],
        floor=reals.images[second],
        classes=reals.classes,
        labels=labels,
        notes=notes,
        protocol={
            "images": f"{number:,} in each set, {made.resolution} px",
            "split": "one half of the reference as reference, the other for the floor",
            "data": reals.fingerprint,
            "generated": made.fingerprint,
            "seed": seed,
        },
    )


def _halves(reals: ImageSet, seed: int) -> tuple[np.ndarray, np.ndarray]:
    order = np.random.default_rng(seed).permutation(len(reals))
    return order[: len(order) // 2], order[len(order) // 2 :]


def _labels(reals: ImageSet, reference: np.ndarray, floor: np.ndarray) -> dict[str, np.ndarray]:
    return {} if reals.labels is None else {"reference": reals.labels[reference], "floor": reals.labels[floor]}


def _count(asked: int | None, *there: int) -> int:
    if asked is not None and asked < 1:
        raise GanfoldError(f"--count must be {LEAST} or more, not {asked}")
    number = min(*there, asked or MOST, MOST)
    if asked and asked > min(there):
        raise GanfoldError(f"--count {asked:,}: only {min(there):,} images are there for each set")
    if number < LEAST:
        raise GanfoldError(
            f"only {number} images in each set: an evaluation needs {LEAST}, and twice as many real ones where "
            "nothing was held out; `ganfold copies` needs none"
        )
    return number


def _compare(sets: _Sets, looking: Extractor) -> Evaluation:
    parts = {"reference": looking.cached(sets.reference), "floor": looking.cached(sets.floor)}
    if (parts["reference"] == parts["reference"][0]).all():
        raise GanfoldError("all images of the reference are the same: there is nothing to compare with")
    parts["generated"] = looking(sets.generated)
    notes = list(sets.notes)
    if (sets.generated == sets.generated[0]).all():
        notes.insert(0, "All generated images are one and the same: the generator has collapsed.")
    balls, floor_balls = (manifold(parts[name], parts["reference"]) for name in ("generated", "floor"))
    figures, classes = _figures(parts, balls, floor_balls, notes), {}
    for number, name in enumerate(sets.classes):
        mine = {part: parts[part][labels == number] for part, labels in sets.labels.items()}
        if few := {part: len(rows) for part, rows in mine.items() if len(rows) < CLASS_LEAST}:
            has = " and ".join(f"{count} {part}" for part, count in few.items())
            notes.append(f"The class {name} is left out: it has only {has} images, and figures need {CLASS_LEAST}.")
        elif "generated" in mine:
            least = min(map(len, mine.values()))
            mine = {part: rows[:least] for part, rows in mine.items()}
            own, own_floor = (manifold(mine[part], mine["reference"]) for part in ("generated", "floor"))
            classes[name] = _figures(mine, own, own_floor)
        else:  # only what is asked of each real image can be told by its class
            rows = torch.from_numpy(sets.labels["reference"] == number)
            each = {"recall": "recalled", "coverage": "covered"}
            classes[name] = [
                Figure(
                    figure,
                    "higher",
                    *mean_and_error(getattr(balls, field)[rows]),
                    *mean_and_error(getattr(floor_balls, field)[rows]),
                )
                for figure, field in each.items()
            ]
    protocol = {
        **looking.protocol(),
        **sets.protocol,
        "ganfold": ganfold.__version__,
        "date": datetime.now(UTC).date().isoformat(),
    }
    return Evaluation(figures, classes, [_verdict(figures), *notes], protocol)


def _figures(
    parts: dict[str, Tensor], mine: Manifold, floors: Manifold, notes: list[str] | None = None
) -> list[Figure]:
    """All metrics of generated against reference, and of the floor in its place; KID leads where FD is not sound."""
    generated, reference, floor = parts["generated"], parts["reference"], parts["floor"]
    count, dimensions = reference.shape
    kernel = Figure("KID", "lower", *kid(generated, reference), *kid(floor, reference))
    distances = [Figure("FD", "lower", frechet(generated, reference), None, frechet(floor, reference), None)]
    enough = max(FD_ENOUGH, 2 * dimensions)
    if count >= enough:
        limits = frechet_infinity(generated, reference), frechet_infinity(floor, reference)
        distances.append(Figure("FD infinity", "lower", limits[0], None, limits[1], None))
    elif notes is not None:
        notes.append(
            f"The Fréchet distance (FD) is not to be trusted at {count:,} images of {dimensions:,} features: it falls "
            f"as images are added, by an amount that depends on the generator. It needs {enough:,}; KID has no such "
            "bias."
        )
    shares = [
        Figure(name, "higher", *getattr(mine, name), *getattr(floors, name))
        for name in ("precision", "recall", "density", "coverage")
    ]
    return [*distances, kernel, *shares] if count >= enough else [kernel, *distances, *shares]


def _verdict(figures: list[Figure]) -> str:
    found = {figure.name: figure for figure in figures}
    kid_, precision, recall = found["KID"], found["precision"], found["recall"]
    apart = kid_.value - kid_.floor
    if apart <= 3 * math.hypot(kid_.error or 0, kid_.floor_error or 0):
        return "At this count these figures cannot tell the generated images from real ones."
    quality, variety = (f.value / max(f.floor, 1e-9) for f in (precision, recall))
    lacks = (
        "variety more than quality" if variety < 0.67 * quality
        else "quality more than variety" if quality < 0.67 * variety
        else "quality and variety alike"
    )  # fmt: skip
    return (
        f"The generated images can be told from real ones: KID {kid_.value:.3g} against {kid_.floor:.2g} among reals. "
        f"Precision is {quality:.0%} and recall {variety:.0%} of what real images reach: they lack {lacks}."
    )


def _shown(value: float, error: float | None) -> str:
    return f"{value:.4g}" + (f" ± {error:.2g}" if error is not None else "")
