"""The generator that additional images come from: it is trained on some images of a set, and sampled by class."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ganfold.data import ImageSet
from ganfold.errors import GanfoldError
from ganfold.gans import GANS, find
from ganfold.gans.contract import GAN
from ganfold.runs.record import NAME, RunRecord
from ganfold.runs.run import Run
from ganfold.studies.parts import write_arrays
from ganfold.training.planning import plan_training
from ganfold.training.request import Request
from ganfold.training.rules import by_grounds
from ganfold.training.session import train_request

KIMG = 40.0  # the default budget. It is in images and not in minutes: the same seed then makes the same files
RAMP = 0.2  # share of the budget over which the labels are ramped in


def find_labelled(gan: str) -> type[GAN]:
    """The class of a GAN that learns by class.

    Raises:
        GanfoldError: there is no such GAN, or it takes no labels.
    """
    gan_class = find(gan)
    if not gan_class.can_take_labels:
        *others, last = (name for name in GANS if find(name).can_take_labels)
        raise GanfoldError(
            f"{gan} takes no labels, so its images have no class: give --gan {', '.join(others)} or {last}"
        )
    return gan_class


def train_generator(
    images: ImageSet,
    rows: np.ndarray,
    folder: Path,
    *,
    gan: str,
    kimg: float | None = None,
    minutes: float | None = None,
    seed: int = 0,
    flips: bool = False,
    device: str = "auto",
    options: Mapping[str, Any] | None = None,
    progress: bool = True,
) -> Run:
    """Train a generator on some images of a set, and on no others. A run in the folder goes on.

    Args:
        images, rows: a set with classes, and the rows to train on, int64.
        folder: for the images, `images.npz`, and the run, `run`.
        gan: one that takes labels.
        kimg, minutes: the budget [40 kimg].
        seed: of the training.
        flips: mirror each image with probability 1/2.
        device: where to train.
        options: of the GAN and of the training; they replace what is chosen here.
        progress: print to the console.

    Raises:
        KeyboardInterrupt: the user stopped the training.
    """
    gan_class = find_labelled(gan)
    source, out = folder / "images.npz", folder / "run"
    if not source.exists():
        assert images.labels is not None
        classes = np.array(images.classes)
        write_arrays(source, {"images": images.images[rows], "labels": images.labels[rows], "classes": classes})
    chosen: dict[str, Any] = {
        "resolution": images.resolution,
        "channels": images.channels,
        "held_out": 0.0,
        "kimg": KIMG if kimg is None and minutes is None else kimg,
        "minutes": minutes,
        "seed": seed,
        "flips": flips,
        "device": device,
        "evaluate_every": 0.0,
        "augment": 0.3,
        "batch": min(16, 1 << (len(rows).bit_length() - 1)),  # small, for many updates
    }
    grounds = {name: value for name, (value, _) in by_grounds(images, rows).items() if name in gan_class.planned}
    chosen |= grounds | dict(gan_class.study_options) | dict(options or {})
    chosen = _schedules(gan, gan_class, source, out, chosen) | chosen
    run = train_request(Request.of(gan, source, out, chosen), progress=progress)
    if run.stopped_by:
        raise KeyboardInterrupt
    return run


def _schedules(gan: str, gan_class: type[GAN], source: Path, out: Path, options: Mapping[str, Any]) -> dict[str, Any]:
    """Options that depend on the whole budget. A run that goes on keeps its own."""
    names = [name for name in ("labels_kimg", "decay_kimg") if name in gan_class.planned]
    if (out / NAME).exists():
        before = RunRecord.read(out)
        return {name: before.config[name] for name in names if name in before.config}
    if "decay_kimg" not in names or not gan_class.config_class().decay_kimg:  # its learning rate never falls
        return {}
    kimg = options["kimg"]
    if kimg is None:
        kimg = plan_training(source, out, gan=gan, progress=False, **options).kimg
    schedules = {"labels_kimg": RAMP * kimg, "decay_kimg": kimg}
    return {name: schedules[name] for name in names}


def sample_classes(run: Run, classes: tuple[str, ...], counts: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Make images of each class. Image n of a class and seed is the same for all counts.

    Args:
        run: a run whose generator takes these classes.
        classes, counts: their names, and how many images of each, int64 (K,).
        seed: of the images.

    Returns:
        The images, uint8 (N, C, H, W), class by class; and their classes, int64 (N,).
    """
    parts = [run.sample(int(count), seed, 0, name) for name, count in zip(classes, counts, strict=True) if count]
    if not parts:
        data = run.record.data
        parts = [np.empty((0, data.resolution, data.resolution, data.channels), np.uint8)]
    made = np.ascontiguousarray(np.concatenate(parts).transpose(0, 3, 1, 2))
    return made, np.repeat(np.arange(len(classes)), counts)


def images_seen(run: Run, images: ImageSet) -> np.ndarray:
    """Which images a run was trained on, compared by their pixels, bool (N,).

    Args:
        run: a run.
        images: N images of the run's resolution and channels.
    """
    trained_on = run.images(progress=False)
    known = {trained_on.images[row].tobytes() for row in trained_on.train.tolist()}
    return np.array([image.tobytes() in known for image in images.images], bool)
