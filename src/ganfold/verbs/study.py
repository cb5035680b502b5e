"""`ganfold study`: do generated images help a classifier on these images? Measured so that the answer can be no."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ganfold import device as devices
from ganfold.data import ImageSet
from ganfold.errors import GanfoldError, did_you_mean
from ganfold.files import read_json, write_atomically, write_json
from ganfold.pages.study_page import write_report
from ganfold.studies.arms import ARMS, baselines
from ganfold.studies.claim import claim
from ganfold.studies.classifiers import STEPS, find
from ganfold.studies.conclusions import Study, concluded
from ganfold.studies.generators import GAN, KIMG, learns_classes
from ganfold.studies.jobs import Job, Settings, path, rows, run, settings_of, wanted
from ganfold.studies.parts import FLOOR, groups, labelled, split
from ganfold.studies.statistics import REPLICATES

TEST, VALIDATION = 0.3, 0.2  # of the images; of those that are left
TESTED = 10  # images of a class in the test part, at least


def study(
    data: str | Path,
    out: str | Path,
    *,
    replicates: int = REPLICATES,
    classifiers: Sequence[str | Callable[[], Any]] = ("cnn", "features"),
    gan: str = GAN,
    kimg: float | None = None,
    minutes: float | None = None,
    small: Sequence[str] = (),
    few: int | None = None,
    share: float = 0.5,
    withhold: str | None = None,
    ratio: float = 1.0,
    factor: float | None = None,
    augmentation: Literal["classical", "randaugment"] = "classical",
    flips: bool = False,
    steps: int = STEPS,
    group: str | None = None,
    resolution: int | None = None,
    seed: int = 0,
    jobs: int | None = None,
    device: str = "auto",
    progress: bool = True,
    **options: Any,
) -> Study:
    """Train classifiers with and without generated images, in replicates, and say what the difference is.

    Test and validation images are set aside first. A replicate draws images of the rest anew and trains a new
    generator on them; all arms of it share the images and the classifier's seed. The work goes through joblib, so its
    backends carry it; the same call again goes on where it was stopped, and one with more replicates or other
    classifiers adds them.

    Args:
        data: images with classes; see `ganfold.data.load`.
        out: a folder, new or empty, for the jobs, `study.json` and `report.html`.
        replicates: below 8 nothing is claimed.
        classifiers: "cnn", "features", or one's own; see `ganfold.studies.classifiers.find`.
        gan, kimg, minutes: the generator of each replicate [40 kimg].
        small, few: classes of which a replicate draws only so many images.
        share: of the training part's images of the other classes. What it does not draw is for the learning curve.
        withhold: a class whose images the generator is shown and the classifiers are not: a control that must help.
        ratio, factor: generated images for each real one; what a class may come to. See `ganfold.augment`.
        augmentation, flips: of the baselines and all that stands on them.
        steps: of the CNN.
        group: a column of the metadata whose images are not to be parted.
        resolution: pixels a side [a power of two, at most 32].
        seed: of everything.
        jobs: how many at once [1, or what `joblib.parallel_config` says, which can name another backend].
        device: where generators and CNNs are trained.
        progress: print each job that is done, and the time left.
        options: of the GAN.

    Raises:
        GanfoldError: no classes, too few images, or `out` holds something else.
    """
    out = Path(out)
    say: Callable[[str], Any] = print if progress else lambda _: None
    if replicates < 1 or not 0 < share < 1 or not ratio > 0:
        raise GanfoldError("--replicates must be 1 or more, --share between 0 and 1, and --ratio above 0")
    learns_classes(gan)
    own = {_name(c): (None if isinstance(c, str) else c) for c in classifiers}
    for classifier in classifiers:
        find(classifier)
    images = labelled(data, resolution=resolution, progress=progress)
    for name in (*small, *([withhold] if withhold else [])):
        if name not in images.classes:
            raise GanfoldError(f"{images.source} has no class {name!r}{did_you_mean(name, images.classes)}")
    if bool(small) != (few is not None):
        raise GanfoldError("--small and --few go together: which classes are small, and how many images they have")
    place = Path(data).expanduser()  # whole, since a worker may stand elsewhere
    where = str(place.resolve()) if place.exists() else str(data)
    settings = Settings(
        where, images.resolution, gan, KIMG if kimg is None and minutes is None else kimg, minutes, replicates,
        share, tuple(small), few, withhold, ratio, factor, augmentation, flips, steps, group, seed,
        str(devices.choose(device)), options,
    )  # fmt: skip
    parts = _begin(out, settings, images, list(own))

    recipes = baselines(augmentation, flips)
    if any(callable(c) and not hasattr(c(), "predict_proba") for c in classifiers):
        say("A classifier without predict_proba cannot adjust its logits: for it that baseline is the augmentation's.")
    numbers = range(replicates)
    first = [Job(n, arm, name, own=make) for n in numbers for name, make in own.items() for arm in recipes]
    generators = [Job(n) for n in numbers]
    everything = len(first) + replicates + len(ARMS) * len(own) * replicates
    run(out, [*first, *generators], jobs, say, 0, everything)
    best = {name: _best(out, name, list(recipes), replicates) for name in own}
    then = [Job(n, arm, name, best[name], make) for n in numbers for name, make in own.items() for arm in ARMS]
    run(out, then, jobs, say, everything - len(then), everything)

    found = concluded(out, settings, images, parts, best)
    write_json(out / "study.json", asdict(found))
    write_report(out, found)
    return found


def _begin(out: Path, settings: Settings, images: ImageSet, classifiers: list[str]) -> dict[str, np.ndarray]:
    """Claim the folder; the parts, split once. More replicates or other classifiers are more jobs of the same study."""
    mine = out / "settings.json"
    content = settings_of(settings, images.fingerprint, classifiers)
    claim(out, mine, content, lambda path: path.suffix == ".tmp", more=("replicates", "classifiers"))
    file = out / "parts.npz"
    if file.exists():
        with np.load(file) as saved:
            parts = dict(saved)
    else:
        labels, together = np.asarray(images.labels), groups(images, settings.group)
        rest, test = split(labels, together, TEST, settings.seed)
        training, validation = split(labels[rest], together[rest], VALIDATION, settings.seed)
        parts = {"test": test, "validation": rest[validation], "training": rest[training]}
    _refuse(settings, images, parts)
    if not mine.exists() or read_json(mine) != content:
        write_json(mine, content)
    if not file.exists():
        write_atomically(file, lambda temporary: _save(temporary, parts))
    return parts


def _save(file: Path, parts: dict[str, np.ndarray]) -> None:
    with open(file, "wb") as stream:
        np.savez(stream, **parts)  # type: ignore[arg-type]


def _refuse(settings: Settings, images: ImageSet, parts: dict[str, np.ndarray]) -> None:
    labels, count = np.asarray(images.labels), len(images.classes)
    tested, there = (np.bincount(labels[parts[part]], minlength=count) for part in ("test", "training"))
    for label, name in enumerate(images.classes):
        drawn = settings.few if settings.few and name in settings.small else 0
        if tested[label] < TESTED or there[label] < drawn + 2:
            need = f", and {drawn} are to be drawn" if drawn else ""
            raise GanfoldError(
                f"the class {name} of {images.source} is too small for a study: {tested[label]} images to test on "
                f"({TESTED} are the least) and {there[label]} to draw from{need}; leave it out, or add images"
            )
    known = rows(settings, images, parts["training"], 0)[1]
    if not wanted(settings, images, known).any():
        most = np.bincount(labels[known], minlength=count).max()
        raise GanfoldError(
            f"no class has both {FLOOR} images in a replicate, the least that a generator can learn from, and room for "
            f"more (the largest has {most}): give a larger --share or --few, or --factor 2"
        )


def _best(out: Path, classifier: str, recipes: list[str], replicates: int) -> str:
    """The baseline of the highest mean balanced accuracy on the validation part."""

    def mean(arm: str) -> float:
        found = [read_json(path(out, Job(n, arm, classifier))) for n in range(replicates)]
        return float(np.mean([f["validation"]["balanced_accuracy"] for f in found]))

    return max(recipes, key=mean)


def _name(classifier: str | Callable[[], Any]) -> str:
    return classifier if isinstance(classifier, str) else getattr(classifier, "__name__", type(classifier).__name__)
