"""The work of a study, cut into jobs. Each job leaves one JSON file, and is not repeated if that file is there."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ganfold.files import read_json, write_json
from ganfold.images.grids import enlargement, grid, save_sheet
from ganfold.runs.run import Run
from ganfold.studies.arms import ARMS, Replicate, baselines, plain
from ganfold.studies.classifiers import find_classifier, score
from ganfold.studies.design import StudySettings, open_study, replicate_additions, replicate_rows, replicate_seed
from ganfold.studies.generators import sample_classes, train_generator
from ganfold.studies.selection import pool_sizes, select

SHOWN = 12  # images of a class in the grid of selected or rejected ones

Classifiers = Mapping[str, Callable[[], Any] | None]  # by name; None for one of ganfold's


@dataclass(frozen=True)
class Job:
    """The training of a generator (if it has no arm), or of a classifier on an arm."""

    replicate: int
    arm: str = ""
    classifier: str = ""
    base: str = ""  # the baseline below an arm that adds images
    own: Callable[[], Any] | None = None  # a classifier of the user's

    @property
    def name(self) -> str:
        """The name of its file, without the suffix."""
        words = [f"{self.replicate:02d}", self.classifier, self.base, self.arm or "generator"]
        return "-".join(re.sub(r"\W+", "_", word) for word in words if word)


def run_study(
    folder: Path, settings: StudySettings, classifiers: Classifiers, workers: int | None, say: Callable[[str], object]
) -> dict[str, str]:
    """Do all jobs of a study that are not done.

    Args:
        folder: of a study that has begun.
        settings: of the study.
        classifiers: all of its classifiers.
        workers: jobs at once [1, or as `joblib.parallel_config` says].
        say: called with a line after each job.

    Returns:
        The best baseline of each classifier, by mean balanced accuracy on the validation part.
    """
    numbers, recipes = range(settings.replicates), baselines(settings.augmentation, settings.flips)
    first = [Job(n, arm, name, own=own) for n in numbers for name, own in classifiers.items() for arm in recipes]
    first += [Job(n) for n in numbers]
    total = len(first) + len(ARMS) * len(classifiers) * settings.replicates
    run_jobs(folder, first, workers, say, 0, total)
    best = {name: _best_baseline(folder, name, list(recipes), settings.replicates) for name in classifiers}
    then = [Job(n, arm, name, best[name], own) for n in numbers for name, own in classifiers.items() for arm in ARMS]
    run_jobs(folder, then, workers, say, len(first), total)
    return best


def run_jobs(
    folder: Path, jobs: Sequence[Job], workers: int | None, say: Callable[[str], object], before: int, total: int
) -> None:
    """Do the jobs that are not done. `before` jobs out of `total` were done earlier."""
    import joblib

    waiting = [job for job in jobs if not job_path(folder, job).exists()]
    begun = time.monotonic()
    tells_each = getattr(joblib.parallel.get_active_backend()[0], "supports_return_generator", False)
    as_they_come = "generator_unordered" if tells_each else "list"  # Ray's backend tells of all jobs at the end
    options: dict[str, Any] = {"n_jobs": workers, "batch_size": 1, "return_as": as_they_come}
    with _safe_path(), joblib.Parallel(**options) as parallel:
        lines: Iterable[str] = parallel(joblib.delayed(run_job)(str(folder.resolve()), job) for job in waiting)
        for count, line in enumerate(lines, 1):
            number = before + len(jobs) - len(waiting) + count
            left = (time.monotonic() - begun) / count * (total - number) / 60
            say(f"{number} of {total}: {line}; about {left:,.0f} minutes left")


@contextmanager
def _safe_path() -> Iterator[None]:
    """Within this context, children of joblib import nothing from the current folder, as `python -m` would."""
    before = os.environ.get("PYTHONSAFEPATH")
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONSAFEPATH"]
        else:
            os.environ["PYTHONSAFEPATH"] = before


def run_job(folder: str, job: Job) -> str:
    """Do one job, on this machine or on another one that has the same folder and images.

    Returns:
        A line that says what came out.
    """
    begun, path = time.monotonic(), Path(folder)
    result = _train_classifier(path, job) if job.arm else _train_generator(path, job.replicate)
    write_json(job_path(path, job), result | {"seconds": round(time.monotonic() - begun, 2)})
    outcome = f"{100 * result['test']['balanced_accuracy']:.1f} %" if job.arm else f"{len(result['kept'])} images kept"
    return f"replicate {job.replicate}, {job.arm or 'generator'}{job.classifier and ', '}{job.classifier}: {outcome}"


def job_path(folder: Path, job: Job) -> Path:
    """The JSON file of a job."""
    return folder / "jobs" / f"{job.name}.json"


def _generator_folder(folder: Path, number: int) -> Path:
    return folder / "generators" / f"{number:02d}"


def _best_baseline(folder: Path, classifier: str, recipes: list[str], replicates: int) -> str:
    def mean(arm: str) -> float:
        results = [read_json(job_path(folder, Job(n, arm, classifier))) for n in range(replicates)]
        return float(np.mean([result["validation"]["balanced_accuracy"] for result in results]))

    return max(recipes, key=mean)


def _train_classifier(folder: Path, job: Job) -> dict[str, Any]:
    settings, images, parts = open_study(folder)
    labels = np.asarray(images.labels)
    recipe = baselines(settings.augmentation, settings.flips)[job.base or job.arm]
    replicate = _replicate(folder, job.replicate, with_generated=bool(job.base))
    training = (ARMS[job.arm] if job.base else plain)(replicate)
    classify = find_classifier(job.own or job.classifier, steps=settings.steps, device=settings.device)
    both = np.concatenate([parts["test"], parts["validation"]])
    answers = classify(training, recipe, images.images[both], replicate.seed)
    count = len(parts["test"])
    return {
        "test": score(answers[:count], labels[both[:count]]),
        "validation": score(answers[count:], labels[both[count:]]),
        "images": len(training.labels),
        "added": len(training.extra_labels),
    }


def _train_generator(folder: Path, number: int) -> dict[str, Any]:
    """Train the generator of a replicate, and select among its images."""
    settings, images, parts = open_study(folder)
    labels, classes = np.asarray(images.labels), len(images.classes)
    shown, known, _ = replicate_rows(settings, images, parts["training"], number)
    seed = replicate_seed(settings, number)
    begun = time.monotonic()
    run = train_generator(
        images,
        known,
        _generator_folder(folder, number),
        gan=settings.gan,
        kimg=settings.kimg,
        minutes=settings.minutes,
        seed=seed,
        flips=settings.flips,
        device=settings.device,
        options=settings.options,
        progress=False,
    )
    seconds = time.monotonic() - begun
    additions = replicate_additions(settings, images, known)
    pool = pool_sizes(additions)
    made, intended = sample_classes(run, images.classes, pool, seed)
    selection = select(made, intended, images.images[known], labels[known], classes, seed=seed)
    if number == 0:
        _save_grid(folder / "selected.png", made, intended, np.flatnonzero(selection.kept))
        _save_grid(folder / "rejected.png", made, intended, np.flatnonzero(~selection.kept))
    return {
        "pool": pool.tolist(),
        "wanted": additions.tolist(),
        "kept": selection.usable(intended).tolist(),
        "classes": selection.acceptance(images.classes),
        "refused": [images.classes[label] for label in selection.refused()],
        "real_recall": selection.real_recall,
        "shown": np.bincount(labels[shown], minlength=classes).tolist(),
        "known": np.bincount(labels[known], minlength=classes).tolist(),
        "training_seconds": round(seconds, 2),
    }


def _save_grid(path: Path, made: np.ndarray, intended: np.ndarray, among: np.ndarray) -> None:
    """Write a grid of these generated images with a row for each class. Grey fills a row that is too short."""
    if not len(among):
        return
    rows = []
    for label in np.unique(intended):
        own = made[among[intended[among] == label][:SHOWN]]
        blank = np.full((SHOWN - len(own), *made.shape[1:]), 128, np.uint8)
        rows.append(np.concatenate([own, blank]))
    shown = np.concatenate(rows).transpose(0, 2, 3, 1)
    save_sheet(grid(shown, SHOWN, enlargement(shown)), path)


@lru_cache(maxsize=1)
def _replicate(folder: Path, number: int, with_generated: bool) -> Replicate:
    settings, images, parts = open_study(folder)
    shown, _, spare = replicate_rows(settings, images, parts["training"], number)
    made, intended = np.empty((0, *images.images.shape[1:]), np.uint8), np.empty(0, np.int64)
    kept, additions = np.empty(0, np.int64), np.zeros(len(images.classes), np.int64)
    seed = replicate_seed(settings, number)
    if with_generated:  # made again in memory: image i of a seed is always the same
        result = read_json(job_path(folder, Job(number)))
        run = Run(_generator_folder(folder, number) / "run", gan=settings.gan)
        made, intended = sample_classes(run, images.classes, np.array(result["pool"]), seed)
        kept, additions = np.array(result["kept"], np.int64), np.array(result["wanted"], np.int64)
    return Replicate(images, seed, shown, spare, made, intended, kept, additions)
