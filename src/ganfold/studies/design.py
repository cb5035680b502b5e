"""The design of a study: its settings, the parts of the images, and what a replicate draws of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal
from zipfile import BadZipFile

import numpy as np

from ganfold.data import ImageSet
from ganfold.errors import GanfoldError, did_you_mean
from ganfold.files import damaged, read_object, write_json
from ganfold.studies.claim import as_read, claim
from ganfold.studies.parts import FLOOR, class_additions, group_images, load_labelled, split_by_group, write_arrays

TEST, VALIDATION = 0.3, 0.2  # share of the images to test on; share of the others to validate on
TESTED = 10  # least images of a class in the test part

Parts = dict[str, np.ndarray]  # "test", "validation" and "training": rows of the images, int64, ascending


@dataclass(frozen=True)
class StudySettings:
    """What defines a study: other settings are another study."""

    data: str
    resolution: int
    gan: str
    kimg: float | None
    minutes: float | None
    replicates: int
    share: float  # of the training part's images of a class that a replicate draws
    small: tuple[str, ...]  # classes of which it draws `few` images instead
    few: int | None
    withhold: str | None  # a class that the generator is shown and the classifiers are not
    ratio: float  # generated images for each real one
    factor: float | None  # see `parts.class_targets`
    augmentation: Literal["classical", "randaugment"]
    flips: bool
    steps: int  # of the CNN
    group: str | None
    seed: int
    device: str
    options: dict[str, Any]  # of the GAN
    classes_from: int = 1  # the level of folders that are the classes

    def content(self, fingerprint: str, classifiers: Sequence[str]) -> dict[str, Any]:
        """The content of `settings.json`."""
        content = asdict(self) | {"small": list(self.small)}
        if self.classes_from == 1:
            del content["classes_from"]  # as in earlier versions, whose studies go on
        return content | {"fingerprint": fingerprint, "classifiers": list(classifiers)}

    def check_classes(self, images: ImageSet) -> None:
        """See that the images have the classes that the settings name.

        Raises:
            GanfoldError: there is no such class, or `small` and `few` do not go together.
        """
        for name in (*self.small, *([self.withhold] if self.withhold else [])):
            if name not in images.classes:
                raise GanfoldError(f"{images.source} has no class {name!r}{did_you_mean(name, images.classes)}")
        if bool(self.small) != (self.few is not None):
            raise GanfoldError("--small and --few go together: which classes are small, and how many images they have")


def begin_study(out: Path, settings: StudySettings, images: ImageSet, classifiers: Sequence[str]) -> Parts:
    """Begin a study in a folder, or go on with it.

    The images are split once. More replicates or other classifiers only add jobs to the same study.

    Raises:
        GanfoldError: the folder holds something else, or a class is too small.
    """
    path, parts_path = out / "settings.json", out / "parts.npz"
    content = settings.content(images.fingerprint, classifiers)
    claim(out, path, content, free=("replicates", "classifiers", "data"))  # moved images are known by content
    parts = _read_parts(out) if parts_path.exists() else _split(settings, images)
    _check_sizes(settings, images, parts)
    if not path.exists() or read_object(path) != as_read(content):
        write_json(path, content)
    if not parts_path.exists():
        write_arrays(parts_path, parts)
    return parts


@lru_cache(maxsize=1)
def open_study(folder: Path) -> tuple[StudySettings, ImageSet, Parts]:
    """The settings, images and parts of a study that has begun.

    Raises:
        GanfoldError: the images have changed, or a file of the study is damaged.
    """
    path = folder / "settings.json"
    content = read_object(path)
    try:
        fingerprint = content.pop("fingerprint")
        content.pop("classifiers")
        tuples = {name: tuple(v) if isinstance(v, list) else v for name, v in content["options"].items()}
        settings = StudySettings(**content | {"small": tuple(content["small"]), "options": tuples})
    except (KeyError, TypeError, AttributeError) as error:
        raise damaged(path, repr(error)) from error
    images = load_labelled(
        settings.data, resolution=settings.resolution, classes_from=settings.classes_from, progress=False
    )
    if images.fingerprint != fingerprint:
        raise GanfoldError(f"{settings.data} holds other images than when {folder} was begun: restore them")
    return settings, images, _read_parts(folder)


def replicate_rows(
    settings: StudySettings, images: ImageSet, training: np.ndarray, number: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What a replicate draws from the training part.

    Returns:
        Rows for the classifiers, int64, ascending; rows for the generator, likewise; and the other rows of the
        classifiers' classes, in drawn order.
    """
    random = np.random.default_rng([settings.seed, number])
    labels = np.asarray(images.labels)
    shown, known, spare = [], [], []
    for label, name in enumerate(images.classes):
        own = random.permutation(training[labels[training] == label])
        count = settings.few if settings.few and name in settings.small else round(settings.share * len(own))
        known.append(own[:count])
        if name != settings.withhold:
            shown.append(own[:count])
            spare.append(own[count:])
    return np.sort(np.concatenate(shown)), np.sort(np.concatenate(known)), np.concatenate(spare)


def replicate_additions(settings: StudySettings, images: ImageSet, known: np.ndarray) -> np.ndarray:
    """How many generated images each class of a replicate should get, int64 (K,).

    A withheld class gets as many as if the classifiers were shown its images.

    Args:
        settings, images: of the study.
        known: rows that the generator is trained on.
    """
    counts = np.bincount(np.asarray(images.labels)[known], minlength=len(images.classes))
    additions = class_additions(counts, settings.ratio, settings.factor)
    if settings.withhold:
        withheld = images.classes.index(settings.withhold)
        additions[withheld] = round(settings.ratio * counts[withheld])
    return np.where(counts < FLOOR, 0, additions)


def replicate_seed(settings: StudySettings, number: int) -> int:
    """The seed of a replicate's generator and classifiers."""
    return 1000 * settings.seed + number


def _read_parts(folder: Path) -> Parts:
    path = folder / "parts.npz"
    try:
        with np.load(path) as parts:
            return {name: parts[name].astype(np.int64, casting="safe") for name in ("test", "validation", "training")}
    except (OSError, ValueError, TypeError, KeyError, EOFError, AttributeError, BadZipFile) as error:
        raise damaged(path, error) from error


def _split(settings: StudySettings, images: ImageSet) -> Parts:
    labels, groups = np.asarray(images.labels), group_images(images, settings.group)
    rest, test = split_by_group(labels, groups, TEST, settings.seed)
    training, validation = split_by_group(labels[rest], groups[rest], VALIDATION, settings.seed)
    return {"test": test, "validation": rest[validation], "training": rest[training]}


def _check_sizes(settings: StudySettings, images: ImageSet, parts: Parts) -> None:
    """See that each class has enough images to test on and to draw from, and that one can get generated images."""
    labels, count = np.asarray(images.labels), len(images.classes)
    tested, available = (np.bincount(labels[parts[part]], minlength=count) for part in ("test", "training"))
    for label, name in enumerate(images.classes):
        drawn = settings.few if settings.few and name in settings.small else 0
        if tested[label] < TESTED or available[label] < drawn + 2:
            need = f", and {drawn} are to be drawn" if drawn else ""
            raise GanfoldError(
                f"the class {name} of {images.source} is too small for a study: {tested[label]} images to test on "
                f"({TESTED} are the least) and {available[label]} to draw from{need}; leave it out, or add images"
            )
    known = replicate_rows(settings, images, parts["training"], 0)[1]
    if not replicate_additions(settings, images, known).any():
        most = np.bincount(labels[known], minlength=count).max()
        raise GanfoldError(
            f"no class has both {FLOOR} images in a replicate, the least that a generator can learn from, and room for "
            f"more (the largest has {most}): give a larger --share or --few, or --factor 2"
        )
