"""The generator that additional images come from: trained on some images of a set, sampled by class."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from ganfold.data import ImageSet
from ganfold.errors import GanfoldError
from ganfold.files import write_atomically
from ganfold.gans import contract, find
from ganfold.runs.run import Run
from ganfold.verbs.plan import by_grounds, plan
from ganfold.verbs.train import train

GAN = "rsgan"
KIMG = 40.0  # a budget in images and not in minutes: the same seed then makes the same files
OPTIONS: dict[str, dict[str, Any]] = {"rsgan": {"labels": True}, "cgan": {"width": 32}}
RAMP = 0.2  # of the budget, over which r3gan lets the labels in


def learns_classes(gan: str) -> type[contract.GAN]:
    """The GAN of this name.

    Raises:
        GanfoldError: there is none, or it takes no labels.
    """
    kind = find(gan)
    if not kind.conditional and not hasattr(kind.config_class, "labels"):
        raise GanfoldError(f"{gan} takes no labels, so its images have no class: give --gan rsgan, r3gan or cgan")
    return kind


def trained(
    images: ImageSet,
    rows: np.ndarray,
    folder: Path,
    *,
    gan: str = GAN,
    kimg: float | None = None,
    minutes: float | None = None,
    seed: int = 0,
    flips: bool = False,
    device: str = "auto",
    progress: bool = True,
    **options: Any,
) -> Run:
    """Train on these images and no others; where the folder holds such a run, go on with it.

    Args:
        images, rows: a set with classes, and which of them, int64.
        folder: for the images, `images.npz`, and the run, `run`.
        gan: one that takes labels.
        kimg, minutes: the budget [40 kimg].
        options: of the GAN, over what is chosen here.
    """
    default = learns_classes(gan).config_class()
    known = {field.name for field in fields(default)}
    source = folder / "images.npz"
    if not source.exists():
        assert images.labels is not None
        write_atomically(source, lambda temporary: _save(temporary, images, rows))
    out = folder / "run"
    kimg = KIMG if kimg is None and minutes is None else kimg
    how: dict[str, Any] = {"resolution": images.resolution, "channels": images.channels, "held_out": 0.0, "kimg": kimg}
    how |= {"minutes": minutes, "seed": seed, "flips": flips, "device": device, "evaluate_every": 0.0}
    how |= {"augment": 0.3, "batch": min(16, 1 << (len(rows).bit_length() - 1))}  # small: many updates
    if "flatten" in known:
        how |= {name: value for name, (value, _) in by_grounds(images, rows).items()}
    how |= OPTIONS.get(gan, {}) | options
    if (out / "config.json").exists():
        before = Run(out).config["config"]
        how = {name: before[name] for name in ("labels_kimg", "decay_kimg") if name in before} | how
    elif getattr(default, "decay_kimg", 0):  # a rate that falls at all
        if kimg is None:
            kimg = plan(source, out, gan=gan, progress=False, **how).kimg
        how = {name: v for name, v in (("labels_kimg", RAMP * kimg), ("decay_kimg", kimg)) if name in known} | how
    run = train(gan, source, out, progress=progress, **how)
    if run.stopped_by:
        raise KeyboardInterrupt
    return run


def _save(path: Path, images: ImageSet, rows: np.ndarray) -> None:
    assert images.labels is not None
    with open(path, "wb") as file:
        np.savez(file, images=images.images[rows], labels=images.labels[rows], classes=np.array(images.classes))


def sampled(run: Run, classes: tuple[str, ...], counts: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """So many images of each class: uint8 (N, C, H, W), and the classes, int64 (N,). The n-th image of a class is the
    same whatever the counts."""
    parts = [run.sample(int(count), seed, 0, name) for name, count in zip(classes, counts, strict=True) if count]
    if not parts:
        size = run.gan.shape
        parts = [np.empty((0, size.resolution, size.resolution, size.channels), np.uint8)]
    made = np.ascontiguousarray(np.concatenate(parts).transpose(0, 3, 1, 2))
    return made, np.repeat(np.arange(len(classes)), counts)


def seen(run: Run, images: ImageSet) -> np.ndarray:
    """Which of the images, of the run's size and channels, it was trained on: by their pixels, bool (N,)."""
    trained_on = run.images(progress=False)
    known = {trained_on.images[row].tobytes() for row in trained_on.train.tolist()}
    return np.array([image.tobytes() in known for image in images.images], bool)
