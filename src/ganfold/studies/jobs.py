"""The work of a study, cut into jobs: each leaves one JSON file, and is not repeated where that is there."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ganfold.data import ImageSet
from ganfold.errors import GanfoldError
from ganfold.files import read_json, write_json
from ganfold.images.grids import enlargement, grid, save_png
from ganfold.runs.run import Run
from ganfold.studies.arms import ARMS, Replicate, baselines, plain
from ganfold.studies.classifiers import find, judged
from ganfold.studies.generators import sampled, trained
from ganfold.studies.parts import FLOOR, additions, labelled
from ganfold.studies.selection import acceptance, candidates, select

SHOWN = 12  # images of a class in a picture of selected or rejected ones


@dataclass(frozen=True)
class Settings:
    """What a study is: another one of these is another study."""

    data: str
    resolution: int
    gan: str
    kimg: float | None
    minutes: float | None
    replicates: int
    share: float  # of the training part's images of a class that a replicate draws
    small: tuple[str, ...]  # classes of which it draws `few` instead
    few: int | None
    withhold: str | None  # a class that the generator knows and the classifiers are not shown
    ratio: float  # generated images for each real one
    factor: float | None
    augmentation: Literal["classical", "randaugment"]
    flips: bool
    steps: int
    group: str | None
    seed: int
    device: str
    options: dict[str, Any]  # of the GAN


@dataclass(frozen=True)
class Job:
    """A generator (no arm), or a classifier on an arm."""

    replicate: int
    arm: str = ""
    classifier: str = ""
    base: str = ""  # the baseline below an arm that adds images
    own: Callable[[], Any] | None = None  # a classifier of the user's

    @property
    def name(self) -> str:
        words = [f"{self.replicate:02d}", self.classifier, self.base, self.arm or "generator"]
        return "-".join(re.sub(r"\W+", "_", word) for word in words if word)


def run(
    folder: Path, jobs: Sequence[Job], workers: int | None, say: Callable[[str], Any], before: int, all_jobs: int
) -> None:
    """Do those that are not done; `before`: how many were done before them, of `all_jobs`."""
    import joblib

    waiting = [job for job in jobs if not path(folder, job).exists()]
    begun = time.monotonic()
    with joblib.Parallel(n_jobs=workers, batch_size=1, return_as="generator_unordered") as parallel:
        done: Iterable[str] = parallel(joblib.delayed(work)(str(folder.resolve()), job) for job in waiting)
        for count, line in enumerate(done, 1):
            number = before + len(jobs) - len(waiting) + count
            left = (time.monotonic() - begun) / count * (all_jobs - number) / 60
            say(f"{number} of {all_jobs}: {line}; about {left:,.0f} minutes left")


def work(folder: str, job: Job) -> str:
    """Do one job, on this machine or another that has the same folder and images."""
    begun, where = time.monotonic(), Path(folder)
    found = _fit(where, job) if job.arm else _generator(where, job.replicate)
    write_json(path(where, job), found | {"seconds": round(time.monotonic() - begun, 2)})
    said = f"{100 * found['test']['balanced_accuracy']:.1f} %" if job.arm else f"{len(found['kept'])} images kept"
    return f"replicate {job.replicate}, {job.arm or 'generator'}{job.classifier and ', '}{job.classifier}: {said}"


def path(folder: Path, job: Job) -> Path:
    return folder / "jobs" / f"{job.name}.json"


def _fit(folder: Path, job: Job) -> dict[str, Any]:
    settings, images, parts = _opened(folder)
    labels = np.asarray(images.labels)
    recipe = baselines(settings.augmentation, settings.flips)[job.base or job.arm]
    replicate = _replicate(folder, job.replicate, with_generated=bool(job.base))
    training = (ARMS[job.arm] if job.base else plain)(replicate)
    classify = find(job.own or job.classifier, steps=settings.steps, device=settings.device)
    both = np.concatenate([parts["test"], parts["validation"]])
    answers = classify(training, recipe, images.images[both], replicate.seed)
    count = len(parts["test"])
    return {
        "test": judged(answers[:count], labels[both[:count]]),
        "validation": judged(answers[count:], labels[both[count:]]),
        "images": len(training.labels),
        "added": len(training.extra_labels),
    }


def _generator(folder: Path, number: int) -> dict[str, Any]:
    settings, images, _ = _opened(folder)
    labels = np.asarray(images.labels)
    shown, known, _ = rows(settings, images, _opened(folder)[2]["training"], number)
    seed, own = _seed(settings, number), folder / "generators" / f"{number:02d}"
    begun = time.monotonic()
    how: dict[str, Any] = {"kimg": settings.kimg, "minutes": settings.minutes, "device": settings.device}
    made_by = trained(
        images, known, own, gan=settings.gan, seed=seed, flips=settings.flips, progress=False, **how, **settings.options
    )
    took = time.monotonic() - begun
    aim = wanted(settings, images, known)
    pool = candidates(aim)
    made, intended = sampled(made_by, images.classes, pool, seed)
    chosen = select(made, intended, images.images[known], labels[known], len(images.classes), seed=seed)
    kept = chosen.usable(intended)
    if number == 0:
        _show(folder / "selected.png", made, intended, np.flatnonzero(chosen.kept))
        _show(folder / "rejected.png", made, intended, np.flatnonzero(~chosen.kept))
    return {
        "pool": pool.tolist(),
        "wanted": aim.tolist(),
        "kept": kept.tolist(),
        "classes": acceptance(chosen, images.classes),
        "refused": [images.classes[label] for label in chosen.refused()],
        "real_recall": chosen.real_recall,
        "shown": np.bincount(labels[shown], minlength=len(images.classes)).tolist(),
        "known": np.bincount(labels[known], minlength=len(images.classes)).tolist(),
        "training_seconds": round(took, 2),
    }


def _show(file: Path, made: np.ndarray, intended: np.ndarray, among: np.ndarray) -> None:
    """A row of each class, grey where there are fewer."""
    if not len(among):
        return
    rows = []
    for label in np.unique(intended):
        mine = made[among[intended[among] == label][:SHOWN]]
        blank = np.full((SHOWN - len(mine), *made.shape[1:]), 128, np.uint8)
        rows.append(np.concatenate([mine, blank]))
    shown = np.concatenate(rows).transpose(0, 2, 3, 1)
    save_png(grid(shown, SHOWN, enlargement(shown)), file)


def rows(
    settings: Settings, images: ImageSet, training: np.ndarray, number: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What a replicate draws of the training part: rows for the classifiers, for the generator, and the others."""
    random = np.random.default_rng([settings.seed, number])
    labels = np.asarray(images.labels)
    shown, known, spare = [], [], []
    for label, name in enumerate(images.classes):
        mine = random.permutation(training[labels[training] == label])
        count = settings.few if settings.few and name in settings.small else round(settings.share * len(mine))
        known.append(mine[:count])
        if name != settings.withhold:
            shown.append(mine[:count])
            spare.append(mine[count:])
    return np.sort(np.concatenate(shown)), np.sort(np.concatenate(known)), np.concatenate(spare)


def wanted(settings: Settings, images: ImageSet, known: np.ndarray) -> np.ndarray:
    """How many generated images each class is to be given; a class that is withheld as if it were shown."""
    labels = np.asarray(images.labels)
    counts = np.bincount(labels[known], minlength=len(images.classes))
    aim = additions(counts, settings.ratio, settings.factor)
    if settings.withhold:
        withheld = images.classes.index(settings.withhold)
        aim[withheld] = round(settings.ratio * counts[withheld])
    return np.where(counts < FLOOR, 0, aim)


def _seed(settings: Settings, number: int) -> int:
    return 1000 * settings.seed + number


@lru_cache(maxsize=1)
def _opened(folder: Path) -> tuple[Settings, ImageSet, dict[str, np.ndarray]]:
    """Settings, images and parts of a study."""
    content = read_json(folder / "settings.json")
    fingerprint = content.pop("fingerprint")
    content.pop("classifiers")
    settings = Settings(**content | {"small": tuple(content["small"])})
    images = labelled(settings.data, resolution=settings.resolution, progress=False)
    if images.fingerprint != fingerprint:
        raise GanfoldError(f"{settings.data} holds other images than when {folder} was begun: restore them")
    with np.load(folder / "parts.npz") as parts:
        return settings, images, dict(parts)


@lru_cache(maxsize=1)
def _replicate(folder: Path, number: int, with_generated: bool) -> Replicate:
    settings, images, parts = _opened(folder)
    shown, _, spare = rows(settings, images, parts["training"], number)
    made, intended = np.empty((0, *images.images.shape[1:]), np.uint8), np.empty(0, np.int64)
    kept, aim, seed = np.empty(0, np.int64), np.zeros(len(images.classes), np.int64), _seed(settings, number)
    if with_generated:  # made anew in memory: image i of a seed is always the same
        found = read_json(path(folder, Job(number)))
        generator = Run(folder / "generators" / f"{number:02d}" / "run")
        made, intended = sampled(generator, images.classes, np.array(found["pool"]), seed)
        kept, aim = np.array(found["kept"], np.int64), np.array(found["wanted"], np.int64)
    return Replicate(images, seed, shown, spare, made, intended, kept, aim)


def settings_of(settings: Settings, fingerprint: str, classifiers: Sequence[str]) -> dict[str, Any]:
    """The content of `settings.json`."""
    return asdict(settings) | {
        "small": list(settings.small), "fingerprint": fingerprint, "classifiers": list(classifiers)
    }  # fmt: skip
