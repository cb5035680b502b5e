"""How near generated images are to real ones, beside how near other real images are: metrics, notes and a verdict."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ganfold import data
from ganfold.data import ImageSet
from ganfold.errors import GanfoldError
from ganfold.interface.result import Result, protocol_line, stamp, table
from ganfold.metrics.distances import frechet, frechet_infinity, kid
from ganfold.metrics.features import Extractor
from ganfold.metrics.manifold import Manifold, manifold, mean_and_error
from ganfold.metrics.paired import TaskMetric
from ganfold.runs.generate import CHUNK
from ganfold.runs.run import Run
from ganfold.runs.team import ALONE, Team

FD_ENOUGH = 5000  # images: with fewer, or fewer than twice the features, FD mostly tells how many images there are
LEAST = 50  # images in each set: with fewer, no metric here means anything
CLASS_LEAST = 20  # images of a class in each set
NAMED = 20  # classes that a note names
MOST = 50_000  # images in each set
NOTHING_HELD_OUT = (
    "Nothing was held out of training, so a generator that copies does well here: "
    "`ganfold copies` tells, or train with --held-out 0.2."
)
SPREAD = "± is the standard error of the sample: it leaves out how far two seeds of a training differ."
FEW = 300  # images in each set: with fewer, only large differences show

Parts = dict[str, Tensor]  # features of the sets "generated", "reference" and "floor"


class TooFew(GanfoldError):
    """There are too few images to compare sets of them."""

    def __init__(self, number: int) -> None:
        super().__init__(
            f"only {number} images in each set: an evaluation needs {LEAST}, and twice as many real ones where "
            "nothing was held out; `ganfold copies` needs none"
        )
        self.number = number


@dataclass(frozen=True)
class Metric:
    """One metric of the generated images, and of real images in their place."""

    name: str
    better: Literal["lower", "higher"]
    value: float
    error: float | None  # standard error of `value`; None where no honest one is known
    floor: float  # the same metric of as many other real images
    floor_error: float | None


@dataclass(frozen=True, repr=False)
class Evaluation(Result):
    """The metrics of generated images, each with its floor, and the protocol that makes them comparable."""

    metrics: list[Metric]
    classes: dict[str, list[Metric]]  # by class; those of real images alone where generated images have no classes
    notes: list[str]  # the verdict first
    protocol: dict[str, Any]
    task: list[TaskMetric] = field(default_factory=list)  # metrics of the GAN's task, beside what is to be beaten

    def __getitem__(self, name: str) -> Metric:
        """The metric of this name, such as "KID".

        Raises:
            GanfoldError: there is none.
        """
        by_name = {metric.name: metric for metric in self.metrics}
        if name not in by_name:
            hint = "; FID is FD with the features of inception" if name.upper() == "FID" else ""
            known = ", ".join(by_name) or "none, since there were too few images"
            raise GanfoldError(f"there is no metric {name!r}{hint} (there are {known})")
        return by_name[name]

    def __repr__(self) -> str:
        return f"<Evaluation: {self.notes[0]}>"

    def to_dict(self) -> dict[str, Any]:
        """The content of `evaluation.json`."""
        content = super().to_dict()
        return {"figures": content.pop("metrics"), **content}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Evaluation:
        """The evaluation that `to_dict` turned into a dictionary."""
        classes = {name: [Metric(**metric) for metric in metrics] for name, metrics in content["classes"].items()}
        metrics = [Metric(**metric) for metric in content["figures"]]
        task = [TaskMetric(**metric) for metric in content.get("task", [])]
        return cls(metrics, classes, content["notes"], content["protocol"], task)

    def lines(self) -> list[str]:
        """The table, the metrics of the task and of each class, the notes and the protocol."""
        rows = [("", "generated", "real (floor)", "better")]
        rows += [(m.name, _shown(m.value, m.error), _shown(m.floor, m.floor_error), m.better) for m in self.metrics]
        lines = [*table(rows), SPREAD] if self.metrics else []
        for metric in self.task:
            values = ", ".join(f"{name} {value:.4g}" for name, value in metric.values.items())
            lines.append(f"{metric.name} ({metric.better} is better): {values}")
        if self.classes:
            names = [metric.name for metric in next(iter(self.classes.values()))]
            lines += ["", "By class, generated / real:"]
            for class_name, metrics in self.classes.items():
                shown = {m.name: f"{m.name} {m.value:.3g} / {m.floor:.3g}" for m in metrics}
                lines.append(f"  {class_name}: " + ", ".join(shown[name] for name in names if name in shown))
        return [*lines, "", *self.notes, "", protocol_line(self.protocol)]


@dataclass(frozen=True)
class Sets:
    """Three sets of N images, uint8 (N, C, H, W), with labels where there are any."""

    generated: np.ndarray
    reference: np.ndarray
    floor: np.ndarray
    classes: tuple[str, ...]
    labels: dict[str, np.ndarray]  # int64 (N,), by the names of the sets
    notes: list[str]
    protocol: dict[str, Any]


def sets_of_run(
    run: Run, reference: str | Path | None, count: int | None, seed: int, progress: bool, team: Team = ALONE
) -> Sets:
    """The sets that evaluate a run.

    Args:
        run: makes the generated images.
        reference: other real images; None: those that the run held out, and its training images for the floor.
        count: images in each set; None: as many as there are, at most 50,000.
        seed: decides which samples and which real images are used.
        progress: show a bar while images are prepared.
        team: the processes that share the sampling.

    Raises:
        GanfoldError: there are no such images, or too few.
    """
    trained = run.record.data
    notes: list[str] = []
    if reference is None:
        reals = team.in_turn(lambda: run.images(progress))
        first, second = reals.held_out, reals.train
        split = "held-out images as reference, training images for the floor"
    else:
        reals = team.in_turn(lambda: run.prepared_like(reference, progress, held_out=0))
        first, second = _halves(reals, seed)
        split = f"one half of {reference} as reference, the other for the floor"
    if not len(first):
        first, second = _halves(reals, seed)
        split = "one half of the training images as reference, the other for the floor"
        notes.append(NOTHING_HELD_OUT)
    notes += reals.findings.as_reference()
    number = _count(count, len(first), len(second))
    first, second = data.drawn(first, number, seed), data.drawn(second, number, seed)
    labels = _labels(reals, first, second)
    if labels and run.classes == reals.classes:
        labels |= _drawn(run, number, seed)
    return Sets(
        generated=samples_of(run, number, seed, team),
        reference=reals.images[first],
        floor=reals.images[second],
        classes=reals.classes,
        labels=labels,
        notes=notes,
        protocol={
            "images": f"{number:,} in each set, {trained.resolution} px",
            "split": split,
            "data": reals.fingerprint,
            "run": f"{run.record.gan}, {run.checkpoint}",
            "seed": seed,
        },
    )


def _drawn(run: Run, count: int, seed: int) -> dict[str, np.ndarray]:
    drawn = run.labels(count, seed)
    return {} if drawn is None else {"generated": drawn}


def samples_of(run: Run, count: int, seed: int, team: Team) -> np.ndarray:
    """The first samples of a seed, which the processes of a team share: uint8 (count, C, H, W)."""
    made = team.rows(count, CHUNK, lambda begin, some: run.sample(some, seed, begin))
    return np.ascontiguousarray(made.transpose(0, 3, 1, 2))


def of_task_alone(run: Run, seed: int, why: TooFew) -> Evaluation:
    """The evaluation of a run with too few images to compare sets: what its task measures on single images is added.

    Args:
        run: its images are too few.
        seed: decides which held-out images are used.
        why: what `sets_of_run` has raised.
    """
    note = (
        f"How near the set of generated images is to real ones (KID and the like) cannot be known from {why.number} "
        f"images: it takes {LEAST} in each set."
    )
    protocol = {
        "images": f"{why.number:,}, {run.record.data.resolution} px",
        "data": run.record.data.fingerprint,
        "run": f"{run.record.gan}, {run.checkpoint}",
        "seed": seed,
        **stamp(),
    }
    return Evaluation([], {}, [note, *([] if run.record.data.held_out else [NOTHING_HELD_OUT])], protocol)


def sets_of_folders(
    generated: str | Path,
    reference: str | Path,
    count: int | None,
    seed: int,
    resolution: int | None,
    progress: bool,
) -> Sets:
    """The sets that evaluate a folder, zip or array of generated images.

    One half of the real images, drawn by the seed, is the reference; the other half gives the floor.

    Args:
        generated, reference: generated and real images.
        count: images in each set; None: as many as there are, at most 50,000.
        seed: decides which images are used.
        resolution: pixels a side at which they are compared; None: that of the generated images.
        progress: show a bar while images are prepared.

    Raises:
        GanfoldError: there are no such images, or too few.
    """
    made = data.load(generated, resolution=resolution, held_out=0, keep_duplicates=True, progress=progress)
    reals = data.load(reference, resolution=made.resolution, held_out=0, progress=progress)
    notes = reals.findings.as_reference()
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
    return Sets(
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


def compare(sets: Sets, extractor: Extractor) -> Evaluation:
    """Measure generated images and the floor against the reference, in the features of an extractor.

    Raises:
        GanfoldError: all images of the reference are the same, or a metric refuses the features.
    """
    parts = {"reference": extractor.cached(sets.reference), "floor": extractor.cached(sets.floor)}
    if (parts["reference"] == parts["reference"][0]).all():
        raise GanfoldError("all images of the reference are the same: there is nothing to compare with")
    parts["generated"] = extractor(sets.generated)
    return extractor.team.once(lambda: _compared(sets, parts, extractor))


def _compared(sets: Sets, parts: Parts, extractor: Extractor) -> Evaluation:
    notes = list(sets.notes)
    if (sets.generated == sets.generated[0]).all():
        notes.insert(0, "All generated images are one and the same: the generator has collapsed.")
    balls, floor_balls = (manifold(parts[name], parts["reference"]) for name in ("generated", "floor"))
    metrics = _metrics(parts, balls, floor_balls, notes)
    classes = _by_class(sets, parts, balls, floor_balls, notes)
    side = sets.reference.shape[-1]
    if extractor.size and extractor.size >= 2 * side:
        notes.append(
            f"Images of {side} px are enlarged to {extractor.size} px for these metrics: compare them only with "
            "metrics of the same resolution."
        )
    protocol = {**extractor.protocol(), **sets.protocol, **stamp()}
    if len(sets.generated) < FEW:
        notes.insert(
            0,
            f"With {len(sets.generated)} images in each set only large differences show: whether a generator is good, "
            f"or better than another, takes {FEW} or more.",
        )
    return Evaluation(metrics, classes, [_verdict(metrics, len(sets.generated)), *notes], protocol)


def _halves(reals: ImageSet, seed: int) -> tuple[np.ndarray, np.ndarray]:
    order = np.random.default_rng(seed).permutation(len(reals))
    return order[: len(order) // 2], order[len(order) // 2 :]


def _labels(reals: ImageSet, reference: np.ndarray, floor: np.ndarray) -> dict[str, np.ndarray]:
    return {} if reals.labels is None else {"reference": reals.labels[reference], "floor": reals.labels[floor]}


def _count(requested: int | None, *available: int) -> int:
    if requested is not None and requested < 1:
        raise GanfoldError(f"--count must be {LEAST} or more, not {requested}")
    number = min(*available, requested or MOST, MOST)
    if requested and requested > min(available):
        raise GanfoldError(f"--count {requested:,}: only {min(available):,} images are there for each set")
    if number < LEAST:
        raise TooFew(number)
    return number


def _by_class(
    sets: Sets, parts: Parts, balls: Manifold, floor_balls: Manifold, notes: list[str]
) -> dict[str, list[Metric]]:
    """The metrics of each class with enough images; a note names the others."""
    classes, left_out = {}, []
    for number, name in enumerate(sets.classes):
        mine = {part: parts[part][labels == number] for part, labels in sets.labels.items()}
        if few := {part: len(rows) for part, rows in mine.items() if len(rows) < CLASS_LEAST}:
            left_out.append(f"{name} ({', '.join(f'{count} {part}' for part, count in few.items())})")
        elif "generated" in mine:
            least = min(map(len, mine.values()))
            mine = {part: rows[:least] for part, rows in mine.items()}
            own, own_floor = (manifold(mine[part], mine["reference"]) for part in ("generated", "floor"))
            classes[name] = _metrics(mine, own, own_floor)
        else:
            classes[name] = _of_reals(torch.from_numpy(sets.labels["reference"] == number), balls, floor_balls)
    if left_out:
        more = f" and {len(left_out) - NAMED:,} more" if len(left_out) > NAMED else ""
        notes.append(
            f"{len(left_out):,} of {len(sets.classes):,} classes are left out, since the metrics of a class need "
            f"{CLASS_LEAST} images in each set: {', '.join(left_out[:NAMED])}{more}."
        )
    return classes


def _of_reals(rows: Tensor, balls: Manifold, floor_balls: Manifold) -> list[Metric]:
    """The two metrics that are a property of each real image, so that no generated image needs a class."""
    return [
        Metric(
            name,
            "higher",
            *mean_and_error(getattr(balls, each)[rows]),
            *mean_and_error(getattr(floor_balls, each)[rows]),
        )
        for name, each in (("recall", "recalled"), ("coverage", "covered"))
    ]


def _metrics(parts: Parts, balls: Manifold, floor_balls: Manifold, notes: list[str] | None = None) -> list[Metric]:
    """All metrics against the reference. KID comes first where there are too few images for FD."""
    generated, reference, floor = parts["generated"], parts["reference"], parts["floor"]
    count, dimensions = reference.shape
    kernel = Metric("KID", "lower", *kid(generated, reference), *kid(floor, reference))
    distances = [Metric("FD", "lower", frechet(generated, reference), None, frechet(floor, reference), None)]
    enough = max(FD_ENOUGH, 2 * dimensions)
    if count >= enough:
        limits = frechet_infinity(generated, reference), frechet_infinity(floor, reference)
        distances.append(Metric("FD infinity", "lower", limits[0], None, limits[1], None))
    elif notes is not None:
        notes.append(
            f"The Fréchet distance (FD) is not to be trusted at {count:,} images of {dimensions:,} features: it falls "
            f"as images are added, by an amount that depends on the generator. It needs {enough:,}; KID has no such "
            "bias."
        )
    shares = [
        Metric(name, "higher", *getattr(balls, name), *getattr(floor_balls, name))
        for name in ("precision", "recall", "density", "coverage")
    ]
    return [*distances, kernel, *shares] if count >= enough else [kernel, *distances, *shares]


def _verdict(metrics: list[Metric], count: int) -> str:
    """What the metrics say together; `count` is the number of images in each set."""
    by_name = {metric.name: metric for metric in metrics}
    telling = [
        f"{name} {by_name[name].value:.3g} against {by_name[name].floor:.2g}"
        for name, errors in (("KID", 3), ("precision", 4), ("recall", 4), ("density", 4), ("coverage", 4))
        if _apart(by_name[name], count) > errors and (name != "KID" or by_name[name].value > by_name[name].floor)
    ]
    if not telling:
        return "At this count these metrics cannot tell the generated images from real ones."
    told = f"The generated images can be told from real ones: {', '.join(telling)} among reals. "
    precision, recall, density = by_name["precision"], by_name["recall"], by_name["density"]
    quality, variety = (metric.value / max(metric.floor, 1e-9) for metric in (precision, recall))
    if variety < 0.33 and density.value > 1.5 * density.floor and _apart(density, count) > 4:
        return (
            f"{told}Recall is {variety:.0%} of what real images reach, density {density.value / density.floor:.0%}: "
            "they crowd in the middle of the real images. They lack variety, and precision does not say whether they "
            "lack quality too."
        )
    lacks = "quality and variety alike"
    if variety < 0.67 * quality:
        lacks = "variety more than quality"
    elif quality < 0.67 * variety:
        lacks = "quality more than variety"
    shares = f"{told}Precision is {quality:.0%} and recall {variety:.0%} of what real images reach"
    return f"{shares}: they lack {lacks}." if min(quality, variety) < 0.9 else f"{shares}."


def _apart(metric: Metric, count: int) -> float:
    """How many standard errors lie between a metric and its floor. One image of `count` is the least error."""
    return abs(metric.value - metric.floor) / max(math.hypot(metric.error or 0, metric.floor_error or 0), 1 / count)


def _shown(value: float, error: float | None) -> str:
    return f"{value:.4g}" + (f" ± {error:.2g}" if error is not None else "")
