"""`ganfold study`: an experiment on whether generated images help a classifier. The answer may be no."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from ganfold.errors import GanfoldError, tell
from ganfold.files import locked, write_json
from ganfold.interface.options import AT_LEAST_ONE, Folder, Many, Positional, PythonOnly, open_verb

if TYPE_CHECKING:
    from ganfold.studies.conclusions import Study
    from ganfold.studies.design import StudySettings
    from ganfold.studies.jobs import Classifiers

    Own = Callable[[], Any]


@dataclass(frozen=True)
class Options:
    data: Annotated[str | Path, Positional]  # images with classes: a folder, zip, .npz, parquet, or a bundled set
    out: Annotated[str | Path, Folder]  # a new or empty folder; the same call goes on in it, also with more replicates
    _: KW_ONLY
    replicates: int = 8  # how often all is drawn and trained anew; below 8 nothing is claimed
    classifiers: Sequence[Literal["cnn", "features"] | Own] = (
        "cnn",
        "features",
    )  # from scratch, or on ImageNet features
    gan: str = "rsgan"  # the GAN of each replicate's generator
    kimg: float | None = None  # budget of a generator in thousand images [40]
    minutes: float | None = None  # its budget in minutes
    small: Sequence[str] = ()  # classes of which a replicate draws only `few` images
    few: int | None = None  # how many images it draws of a small class
    share: float = 0.5  # share of the other classes' training images that it draws; the rest gives the learning curve
    withhold: str | None = None  # a class that only the generator is shown, as a control: generated images must help
    ratio: float = 1.0  # generated images for each real one
    factor: float | None = None  # a class may have this many images for each real one [as many as the largest class]
    augmentation: Literal["classical", "randaugment"] = "classical"  # of all arms but the first
    flips: bool = False  # mirrored images are valid
    steps: int = 500  # training steps of the CNN
    group: str | None = None  # a column of the metadata: images with the same value stay together, as of one patient
    resolution: int | None = None  # pixels a side [a power of two, at most 32]
    classes_from: Annotated[int, AT_LEAST_ONE] = 1  # level of the nested folders that are the classes: 1 is the first
    seed: int = 0  # decides everything that is drawn
    jobs: int | None = None  # how many jobs run at once [1, or as `joblib.parallel_config` says]
    device: Literal["auto", "cuda", "mps", "cpu"] = "auto"  # where generators and CNNs are trained
    progress: Annotated[bool, PythonOnly] = True  # print each job that is done, and the time left
    options: Annotated[Many, PythonOnly] = field(default_factory=Many)  # options of the GAN


@open_verb(Options)
def study(options: Options) -> Study:
    """Measure whether generated images help a classifier on these images.

    Test and validation images are set aside first. Each replicate draws images from the rest and trains a new generator
    on them. All arms of a replicate share its images and the seed of the classifier.

    joblib runs the jobs; its backends can spread them over machines. The same call continues where it was stopped. A
    call with more replicates or other classifiers adds them. The folder then holds the jobs, `study.json` and
    `report.html`.

    A classifier may also be a callable that returns an object with `fit` and `predict`, like those of scikit-learn.

    Raises:
        GanfoldError: there are no classes or too few images, or `out` holds something else.
    """
    from ganfold.pages.study_page import write_report
    from ganfold.studies.conclusions import conclude
    from ganfold.studies.design import begin_study
    from ganfold.studies.generators import find_labelled
    from ganfold.studies.jobs import run_study
    from ganfold.studies.parts import load_labelled

    if options.replicates < 1 or not 0 < options.share < 1 or not options.ratio > 0:
        raise GanfoldError("--replicates must be 1 or more, --share between 0 and 1, and --ratio above 0")
    find_labelled(options.gan)
    classifiers = _classifiers(options)
    out = Path(options.out)
    say: Callable[[str], object] = tell if options.progress else lambda _: None
    images = load_labelled(
        options.data,
        resolution=options.resolution,
        classes_from=options.classes_from,
        progress=options.progress,
    )
    settings = _settings(options, images.resolution)
    settings.check_classes(images)
    with locked(out, "a study"):
        parts = begin_study(out, settings, images, list(classifiers))
        if any(own and not hasattr(own(), "predict_proba") for own in classifiers.values()):
            say(
                "A classifier without predict_proba cannot adjust its logits: for it that baseline is the "
                "augmentation's."
            )
        best = run_study(out, settings, classifiers, options.jobs, say)
        result = conclude(out, settings, images, parts, best)
        write_json(out / "study.json", result.to_dict())
        write_report(out, result)
    return result


def _classifiers(options: Options) -> Classifiers:
    """The classifiers by name, checked."""
    from ganfold.studies.classifiers import find_classifier

    for classifier in options.classifiers:
        find_classifier(classifier)
    return {_name(c): None if isinstance(c, str) else c for c in options.classifiers}


def _name(classifier: str | Own) -> str:
    return classifier if isinstance(classifier, str) else getattr(classifier, "__name__", type(classifier).__name__)


def _settings(options: Options, resolution: int) -> StudySettings:
    from ganfold import device as devices
    from ganfold.studies.design import StudySettings
    from ganfold.studies.generators import KIMG

    path = Path(options.data).expanduser()
    return StudySettings(
        data=str(path.resolve()) if path.exists() else str(options.data),  # absolute: a worker may stand elsewhere
        resolution=resolution,
        gan=options.gan,
        kimg=KIMG if options.kimg is None and options.minutes is None else options.kimg,
        minutes=options.minutes,
        replicates=options.replicates,
        share=options.share,
        small=tuple(options.small),
        few=options.few,
        withhold=options.withhold,
        ratio=options.ratio,
        factor=options.factor,
        augmentation=options.augmentation,
        flips=options.flips,
        steps=options.steps,
        group=options.group,
        seed=options.seed,
        device=str(devices.choose(options.device)),
        options=dict(options.options),
        classes_from=options.classes_from,
    )
