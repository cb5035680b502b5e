"""The steps of `ganfold augment`: split, train, select, try, write."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ganfold.data import ImageSet
from ganfold.errors import GanfoldError
from ganfold.files import write_bytes
from ganfold.interface.result import Result, protocol_line, stamp, table
from ganfold.runs.run import Run
from ganfold.studies.folder import GENERATED, write_folder
from ganfold.studies.gate import RATIOS, Gate, decide
from ganfold.studies.generators import images_seen, sample_classes
from ganfold.studies.packing import Format, pack_folder
from ganfold.studies.parts import FLOOR, class_additions, group_images, load_labelled, split_by_group
from ganfold.studies.selection import Selection, pool_sizes, select

VALIDATION = 0.2  # share of the images that judge: neither the generator nor the selection sees them
MANY = 100_000  # files: this many are written only if the user says so
WORK = ".augment"  # in the output folder; hidden, so that it does not count as a class
Parts = tuple[np.ndarray, np.ndarray]  # rows of the images to fit on and of those that judge: int64, ascending
COLUMNS = ("class", "real", "added", "made", "agreed", "supported", "copied", "kept", "variety")


@dataclass(frozen=True, repr=False)
class Augmentation(Result):
    """What `augment` did, and why."""

    ratio: float  # generated images for each real one, as far as the class has room; 0: none were added
    reason: str
    classes: list[dict[str, Any]]  # of each: real, added, and how many were made, agreed, supported, copied, kept
    gate: dict[str, list[float]]  # balanced accuracy on the validation images, by ratio, in pairs
    notes: list[str]
    protocol: dict[str, Any]

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Augmentation:
        """The result that `to_dict` gave."""
        return cls(**content)

    def lines(self) -> list[str]:
        """The decision, a table of the classes, the trial and the notes."""
        rows = [COLUMNS, *([_cell(row.get(column, "-")) for column in COLUMNS] for row in self.classes)]
        trial = [
            f"Trial at {ratio} generated for each real one: balanced accuracy {_percent(values)} %"
            for ratio, values in self.gate.items()
        ]
        return [self.reason, "", *table(rows), "", *trial, *self.notes, protocol_line(self.protocol)]


@dataclass(frozen=True)
class Room:
    """How many generated images each class may get."""

    images: ImageSet
    counts: np.ndarray  # real images of each class, int64 (K,)
    most: np.ndarray  # generated images of each class at most, int64 (K,)
    factor: float | None  # see `parts.class_targets`

    @classmethod
    def of(cls, images: ImageSet, ratio: float | None, factor: float | None) -> Room:
        """The room at this ratio, or at the largest that the trial may choose."""
        counts = np.bincount(np.asarray(images.labels), minlength=len(images.classes))
        additions = class_additions(counts, RATIOS[-1] if ratio is None else ratio, factor)
        return cls(images, counts, np.where(counts < FLOOR, 0, additions), factor)

    def check(self, yes: bool) -> None:
        """See that there is room for generated images, and not for too many.

        Raises:
            GanfoldError: no class has room, or more than 100,000 files may be written without `yes`.
        """
        images = self.images
        if (self.counts < FLOOR).all():
            raise GanfoldError(
                f"no class of {images.source} has {FLOOR} images, the least that a generator can learn from: "
                f"{self.remedy()}"
            )
        if not self.most.any():
            raise GanfoldError(
                f"no class of {images.source} that has {FLOOR} images has room for more: --factor 2 doubles each"
            )
        if (files := int(self.most.sum())) > MANY and not yes:
            size = files * images.channels * images.resolution**2 * 0.7 / 1e9
            raise GanfoldError(
                f"this may write {files:,} files, about {size:,.1f} GB: give --yes if that is meant, or a smaller "
                "--factor"
            )

    def remedy(self) -> str:
        """How a class with too few images could get enough; nothing where no class has too few."""
        small = [int(label) for label in np.argsort(-self.counts, kind="stable") if 0 < self.counts[label] < FLOOR]
        if not small:
            return ""
        names = [self.images.classes[label] for label in small]
        lacks = FLOOR - int(self.counts[small[0]])
        told = f"add {lacks} real images to {names[0]}, which lacks least"
        together = np.cumsum(self.counts[small])
        if together[-1] < FLOOR or len(small) < 2:
            return told
        merged = int(np.argmax(together >= FLOOR)) + 1
        return f"{told}, or merge {', '.join(names[:merged])}, which have {together[merged - 1]} together"

    def additions(self, ratio: float) -> np.ndarray:
        """How many generated images each class should get at this ratio, int64 (K,)."""
        return np.minimum(class_additions(self.counts, ratio, self.factor), self.most)

    def notes(self) -> list[str]:
        """The classes that get none."""
        return [
            f"The class {self.images.classes[label]} gets none: it has {self.counts[label]} real images, and {FLOOR} "
            "are the least."
            for label in np.flatnonzero(self.counts < FLOOR)
        ]


@dataclass(frozen=True)
class Pool:
    """Generated images to choose from."""

    made: np.ndarray  # uint8 (N, C, H, W), class by class
    intended: np.ndarray  # their classes, int64 (N,)
    selection: Selection
    kept: np.ndarray  # rows of `made` that may be added, int64, ascending

    def first(self, additions: np.ndarray) -> np.ndarray:
        """The rows of the first kept images of each class, as many as these (K,) or as there are."""
        return np.concatenate(
            [self.kept[self.intended[self.kept] == label][:count] for label, count in enumerate(additions)]
        )


@dataclass(frozen=True)
class Decision:
    """How many generated images are added."""

    ratio: float  # for each real one
    reason: str
    gate: dict[str, list[float]]  # balanced accuracies by ratio; {} without a trial


def load_originals(
    data: str | Path, run: Run | None, resolution: int | None, progress: bool, classes_from: int = 1
) -> ImageSet:
    """The images to add to, at the resolution of the run if there is one.

    Raises:
        GanfoldError: no classes, images that were generated here, or a run of another resolution or other classes.
    """
    if run:
        own = run.record.settings.classes_from
        images = _load_for_run(run, data, resolution, progress, own if classes_from == 1 else classes_from)
    else:
        images = load_labelled(data, resolution=resolution, classes_from=classes_from, progress=progress)
    if again := [name for name in images.names if name.rpartition("/")[2].startswith(GENERATED)]:
        raise GanfoldError(f"{images.source} holds generated images already, such as {again[0]}: give the originals")
    return images


def _load_for_run(run: Run, data: str | Path, resolution: int | None, progress: bool, classes_from: int) -> ImageSet:
    """The images at the size and with the channels of a run."""
    trained, fit = run.record.data, run.record.settings.fit
    if resolution not in (None, trained.resolution):
        raise GanfoldError(f"{run.path} makes images of {trained.resolution} px: leave out --resolution")
    images = load_labelled(
        data,
        resolution=trained.resolution,
        channels=trained.channels,
        fit=fit,
        classes_from=classes_from,
        progress=progress,
    )
    if run.classes != images.classes:
        raise GanfoldError(f"{run.path} makes no images of the classes of {images.source}: leave out --run")
    return images


def divide(images: ImageSet, run: Run | None, group: str | None, seed: int) -> Parts:
    """Divide the images into those to fit on and those that judge.

    The generator has seen no image that judges, and no near-copy of one.

    Raises:
        GanfoldError: the run has seen all images of a class.
    """
    labels, groups = np.asarray(images.labels), group_images(images, group)
    if run is None:
        return split_by_group(labels, groups, VALIDATION, seed)
    known = np.isin(groups, groups[images_seen(run, images)])
    missing = set(range(len(images.classes))) - set(labels[~known].tolist())
    if missing:
        raise GanfoldError(
            f"{run.path} was trained on the images that are to judge it: of {images.classes[min(missing)]} it has seen "
            "all; train it with --held-out 0.2, or leave out --run"
        )
    return np.flatnonzero(known), np.flatnonzero(~known)


def make_pool(run: Run, room: Room, fit: np.ndarray, seed: int, say: Callable[[str], object]) -> Pool:
    """Make images of each class, and select among them by the real images to fit on.

    Args:
        run: the generator.
        room: of the classes.
        fit: rows of the real images.
        seed: of the generated images and of the selection's folds.
        say: called with a line of progress.
    """
    images, sizes = room.images, pool_sizes(room.most)
    say(f"Selecting among {sizes.sum():,} generated images.")
    made, intended = sample_classes(run, images.classes, sizes, seed)
    labels = np.asarray(images.labels)[fit]
    selection = select(made, intended, images.images[fit], labels, len(images.classes), seed=seed)
    return Pool(made, intended, selection, selection.usable(intended))


def decide_ratio(gate: Gate, ratio: float | None, folder: Path, say: Callable[[str], object]) -> Decision:
    """Decide how many generated images are added: as requested, or by a trial.

    Args:
        gate: the trial.
        ratio: generated images for each real one, if requested.
        folder: for the files of the trial.
        say: called with a line of progress.
    """
    if not len(gate.kept):
        nothing = "Nothing is added: no generated image passed the selection; more --kimg may mend that."
        return Decision(0.0, nothing, {})
    if ratio is not None:
        return Decision(ratio, f"{ratio:g} generated images for each real one, as requested, without a trial.", {})
    accuracies = gate.run(folder, say)
    return Decision(*decide({float(name): values for name, values in accuracies.items()}), accuracies)


def write_set(out: Path, format: Format, images: ImageSet, run: Path, seed: int, pool: Pool, added: np.ndarray) -> None:
    """Write the real images and the added rows of the pool, as class folders or as one file."""
    files = out if format == "folder" else out / WORK / "files"
    write_folder(files, images, run, seed, pool.made, pool.intended, added, pool.selection)
    if format != "folder":
        pack_folder(files, images.classes, format, out)
        write_bytes(out / "manifest.csv", (files / "manifest.csv").read_bytes())
        shutil.rmtree(files)


def conclude(
    room: Room,
    parts: Parts,
    run: Run,
    pool: Pool,
    decision: Decision,
    added: np.ndarray,
    seed: int,
) -> Augmentation:
    """What was done, and why.

    Args:
        room: of the classes.
        parts: the rows that it was fitted on, and those that judged.
        run: the generator.
        pool: the images that it made.
        decision: how many are added.
        added: their rows in the pool.
        seed: of the call.
    """
    images, (fit, validation) = room.images, parts
    counts = np.bincount(pool.intended[added], minlength=len(images.classes))
    selected = {row["class"]: row for row in pool.selection.acceptance(images.classes)}
    classes = [
        {"class": name, "real": int(real), "added": int(count)}
        | {key: round(value, 3) for key, value in selected.get(name, {}).items() if key != "class"}
        for name, real, count in zip(images.classes, room.counts, counts, strict=True)
    ]
    alike = [
        f"The class {images.classes[label]} gets none: its images are too much alike."
        for label in pool.selection.refused()
    ]
    protocol = {
        "images": images.source,
        "fingerprint": images.fingerprint,
        "generator": f"{run.record.gan}, {run.checkpoint}, {len(fit):,} images",
        "judged by": f"{len(validation):,} validation images" if decision.gate else "nothing",
        "recall of the selecting classifiers on reals": f"{_percent(pool.selection.real_recall)} %",
        "seed": seed,
        **stamp(),
    }
    notes = [*room.notes(), *alike, *_shortage(images, room.additions(decision.ratio), counts)]
    notes += _sharpness(images, added) + _next_step(room, decision)
    return Augmentation(decision.ratio, decision.reason, classes, decision.gate, notes, protocol)


def _shortage(images: ImageSet, additions: np.ndarray, counts: np.ndarray) -> list[str]:
    """The classes that get fewer images than they should."""
    return [
        f"The class {images.classes[label]} gets {counts[label]} of {additions[label]}: no more passed the selection."
        for label in np.flatnonzero((counts < additions) & (counts > 0))
    ]


def _next_step(room: Room, decision: Decision) -> list[str]:
    """What may be tried after a refusal."""
    steps = [remedy] if (remedy := room.remedy()) else []
    if not decision.ratio and decision.gate:
        steps.append("train the generator for longer (a larger --kimg and another --out), or add real images")
    return [f"Next step: {'; '.join(steps)}."] if steps else []


def _sharpness(images: ImageSet, added: np.ndarray) -> list[str]:
    """A note if real images are larger than generated ones."""
    native = images.findings.native["median"]
    if not len(added) or native <= 1.25 * images.resolution:
        return []
    return [
        f"Generated images have {images.resolution} px, real ones {native:,}: bring all to one size before you train, "
        "or sharpness tells them apart."
    ]


def _cell(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _percent(shares: list[float]) -> str:
    return f"{100 * float(np.mean(shares)):.1f}"
